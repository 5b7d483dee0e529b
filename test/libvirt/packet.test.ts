// Packets come out whole however the stream is cut, and lengths outside the limits are refused before memory is used for them.
import t from 'tap'
import { encodePacket, type Packet, PacketSplitter } from '../../lib/libvirt/packet.ts'
import { maxPacketBytes } from '../../lib/libvirt/protocol.ts'
import { XdrError } from '../../lib/libvirt/xdr.ts'
import { createRandom, type Random } from '../support/random.ts'

function randomPacket(random: Random): Packet {
  const word = (): number => random.bytes(4).readUInt32BE()
  return {
    header: { program: word(), version: word(), procedure: word() | 0, type: word(), serial: word(), status: word() },
    payload: random.bytes(random.int(random.pick([1, 64, 5_000]))),
  }
}

t.test('a packet has the length, the six header words and the payload, big endian', async (t) => {
  const header = { program: 0x20008086, version: 1, procedure: 66, type: 0, serial: 9, status: 0 }
  const hex = '0000001e2000808600000001000000420000000000000009000000000102'
  t.equal(encodePacket({ header, payload: Buffer.from([1, 2]) }).toString('hex'), hex)
})

t.test('packets come out as they went in, however the bytes are cut', async (t) => {
  const random = createRandom()
  t.comment(`seed ${random.seed}`)
  for (const largestChunk of [1, 3, 29, 4_096, 100_000]) {
    const packets = Array.from({ length: 20 }, () => randomPacket(random))
    const bytes = Buffer.concat(packets.map(encodePacket))
    const splitter = new PacketSplitter()
    const out: Packet[] = []
    for (let start = 0; start < bytes.length; ) {
      const length = 1 + random.int(largestChunk)
      const chunk = Buffer.from(bytes.subarray(start, start + length))
      out.push(...splitter.push(chunk))
      chunk.fill(0xee) // whoever gave the chunk may use it again
      start += length
    }
    t.same(out, packets, `chunks of at most ${largestChunk}`)
  }
})

t.test('a length outside the limits is refused', async (t) => {
  const lengths: readonly [number, number][] = [
    [0, maxPacketBytes],
    [27, maxPacketBytes],
    [maxPacketBytes + 1, maxPacketBytes],
    [0xffffffff, maxPacketBytes],
    [101, 100],
  ]
  for (const [length, limit] of lengths) {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(length)
    t.throws(() => new PacketSplitter(limit).push(bytes), XdrError, `${length} where ${limit} is the limit`)
  }
  const header = { program: 0, version: 0, procedure: 0, type: 0, serial: 0, status: 0 }
  t.throws(() => encodePacket({ header, payload: Buffer.alloc(maxPacketBytes - 27) }), XdrError, 'not sent either')
  t.equal(encodePacket({ header, payload: Buffer.alloc(maxPacketBytes - 28) }).length, maxPacketBytes)
})

t.test('a large length claimed takes no memory before the bytes have come', async (t) => {
  const before = process.memoryUsage().arrayBuffers
  const splitters = Array.from({ length: 100 }, () => new PacketSplitter())
  const claim = Buffer.alloc(4)
  claim.writeUInt32BE(maxPacketBytes)
  for (const splitter of splitters) t.same(splitter.push(claim), [])
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 100 * 1_000_000, `${grown} bytes for 100 claims of 32 MiB`)
})
