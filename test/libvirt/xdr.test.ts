// XDR: known bytes, random types and values both ways, and bytes that must be refused.
import t from 'tap'
import { XdrError, XdrReader, XdrWriter } from '../../lib/libvirt/xdr.ts'
import {
  array,
  int,
  opaque,
  optional,
  safeUhyper,
  string,
  struct,
  uhyper,
  uint,
  type XdrType,
} from '../../lib/libvirt/xdr-type.ts'
import { createRandom, type Random } from '../support/random.ts'

function encode<T>(type: XdrType<T>, value: T): Buffer {
  const writer = new XdrWriter()
  type.write(writer, value)
  return writer.finish()
}

function decode<T>(type: XdrType<T>, bytes: Buffer): T {
  const reader = new XdrReader(bytes)
  const value = type.read(reader)
  reader.finish()
  return value
}

interface Sample {
  readonly type: XdrType<unknown>
  readonly value: unknown
}

const sample = <T>(type: XdrType<T>, value: T): Sample => ({ type: type as XdrType<unknown>, value })

const leaves: readonly ((random: Random) => Sample)[] = [
  (random) => sample(int, random.bytes(4).readInt32BE()),
  (random) => sample(uint, random.bytes(4).readUInt32BE()),
  (random) => sample(uhyper, random.bytes(8).readBigUInt64BE()),
  (random) => sample(safeUhyper, random.int(Number.MAX_SAFE_INTEGER)),
  (random) => sample(opaque(64), random.bytes(random.int(65))),
  (random) => {
    const text = Array.from({ length: random.int(9) }, () => random.pick(['a', 'é', '猫', '𝄞', '\n', '<'])).join('')
    return sample(string(64), text)
  },
]

function randomSample(random: Random, depth: number): Sample {
  const kind = depth === 0 ? 0 : random.int(4)
  if (kind === 0) return random.pick(leaves)(random)
  const inner = randomSample(random, depth - 1)
  if (kind === 1) return sample(optional(inner.type), random.int(2) === 0 ? undefined : inner.value)
  if (kind === 2)
    return sample(
      array(inner.type, 8),
      Array.from({ length: random.int(9) }, () => inner.value),
    )
  const fields = Array.from({ length: 1 + random.int(4) }, (_, index) => {
    return [`field${index}`, randomSample(random, depth - 1)] as const
  })
  const type = struct(Object.fromEntries(fields.map(([name, field]) => [name, field.type])))
  return sample(type, Object.fromEntries(fields.map(([name, field]) => [name, field.value])))
}

t.test('known values have the bytes that RFC 4506 gives them', async (t) => {
  const known: readonly [string, Sample, string][] = [
    ['a negative int', sample(int, -2), 'fffffffe'],
    ['an unsigned int', sample(uint, 0xfffffffe), 'fffffffe'],
    ['an unsigned hyper', sample(uhyper, 0x0102030405060708n), '0102030405060708'],
    ['a string of 9 bytes', sample(string(16), 'sillyprog'), '0000000973696c6c7970726f67000000'],
    ['an empty string', sample(string(16), ''), '00000000'],
    ['an absent value', sample(optional(int), undefined), '00000000'],
    ['a present value', sample(optional(int), 1), '0000000100000001'],
    ['an array', sample(array(uint, 2), [5, 6]), '000000020000000500000006'],
    ['opaque bytes', sample(opaque(8), Buffer.from('0102030405', 'hex')), '000000050102030405000000'],
    ['a struct', sample(struct({ a: int, b: string(4) }), { a: 1, b: 'x' }), '000000010000000178000000'],
  ]
  for (const [name, { type, value }, hex] of known) {
    t.equal(encode(type, value).toString('hex'), hex, `${name} is written so`)
    t.same(decode(type, Buffer.from(hex, 'hex')), value, `${name} is read so`)
  }
})

t.test(
  'random values of random types come back as they were, and no part of their bytes passes for the whole',
  async (t) => {
    const random = createRandom()
    t.comment(`seed ${random.seed}`)
    for (let round = 0; round < 500; round++) {
      const { type, value } = randomSample(random, 4)
      const bytes = encode(type, value)
      if (bytes.length % 4 !== 0) t.fail('bytes that are not aligned')
      t.same(decode(type, bytes), value, `round ${round} of seed ${random.seed}`)
      if (bytes.length > 0) t.throws(() => decode(type, bytes.subarray(0, random.int(bytes.length))), XdrError)
      t.throws(() => decode(type, Buffer.concat([bytes, Buffer.alloc(4)])), XdrError)
    }
  },
)

t.test('random bytes never do anything but decode or be refused', async (t) => {
  const random = createRandom()
  t.comment(`seed ${random.seed}`)
  for (let round = 0; round < 2_000; round++) {
    const { type } = randomSample(random, 3)
    try {
      decode(type, random.bytes(random.int(64)))
    } catch (error) {
      if (!(error instanceof XdrError)) throw error
    }
  }
  t.pass('no other error')
})

t.test('a value outside its type or limit is refused in both directions', async (t) => {
  const unwritable: readonly Sample[] = [
    sample(int, 2 ** 31),
    sample(int, 0.5),
    sample(uint, -1),
    sample(uhyper, -1n),
    sample(uhyper, 2n ** 64n),
    sample(string(3), 'éé'),
    sample(string(8), 'a\0b'),
    sample(opaque(1), Buffer.alloc(2)),
    sample(array(int, 1), [1, 2]),
  ]
  for (const { type, value } of unwritable) t.throws(() => encode(type, value), XdrError)
  const unreadable: readonly [XdrType<unknown>, string][] = [
    [string(3) as XdrType<unknown>, '0000000461616161'],
    [string(2 ** 31) as XdrType<unknown>, '7fffffff61616161'],
    [opaque(8) as XdrType<unknown>, '0000000161616161'],
    [optional(int) as XdrType<unknown>, '0000000200000001'],
    [array(int, 2 ** 31) as XdrType<unknown>, '7fffffff00000001'],
    [safeUhyper as XdrType<unknown>, '0020000000000000'],
  ]
  for (const [type, hex] of unreadable) t.throws(() => decode(type, Buffer.from(hex, 'hex')), XdrError, hex)
})
