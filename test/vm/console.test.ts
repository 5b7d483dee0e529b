import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createConsoles } from '../../lib/daemon/node/consoles.ts'
import { createLog, silentLog } from '../../lib/log.ts'
import { capConsole, consoleTail, readConsole } from '../../lib/vm/console.ts'

const folder = mkdtempSync(join(tmpdir(), 'vmrm-console-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'console.log')

for (const [what, text, expected] of [
  ['plain lines', 'one\r\ntwo\r\nthree\r\n', 'one\ntwo\nthree'],
  ['colours and cursor moves', '\x1b[2J\x1b[1;31mred\x1b[0m\x1b(B plain\x1b7\n', 'red plain'],
  ['a title', '\x1b]0;you have mail\x07login: \n', 'login:'],
  ['an unfinished sequence', 'end\n\x1b[', 'end'],
  ['control characters', 'a\x00b\x08c\x7fd\x9be\u202ef\n', 'abcdef'],
  ['empty lines', '\n\n  \none\n\n\n', 'one'],
  ['progress that overwrites itself', '10%\r50%\r100%\n', '10%\n50%\n100%'],
  ['bytes that are no UTF-8', Buffer.from([0x61, 0xff, 0x62, 0x0a]), 'a\ufffdb'],
  ['nothing', '', ''],
] as const) {
  t.test(`The tail of ${what} can be printed`, async (t) => {
    writeFileSync(path, text)
    t.equal(await consoleTail(path), expected)
  })
}

t.test('The tail has the last lines only, and of a long line its beginning', async (t) => {
  writeFileSync(path, Array.from({ length: 5_000 }, (_, number) => `line ${number}\n`).join(''))
  t.equal(await consoleTail(path, { maxLines: 2 }), 'line 4998\nline 4999')
  t.equal((await consoleTail(path)).split('\n').length, 20)
  writeFileSync(path, 'x'.repeat(1_000_000))
  t.equal(await consoleTail(path), 'x'.repeat(200))
})

t.test("A kernel's complaint is kept where its trace has pushed it out of the last lines", async (t) => {
  const trace = Array.from({ length: 40 }, (_, number) => `trace ${number}`)
  writeFileSync(path, ['starting', 'Kernel panic - not syncing: no init', ...trace, ''].join('\n'))
  const lines = (await consoleTail(path, { maxLines: 5 })).split('\n')
  t.same(lines, ['Kernel panic - not syncing: no init', '[...]', 'trace 37', 'trace 38', 'trace 39'])
})

t.test('A console that is not there has no lines and cannot be cut', async (t) => {
  t.equal(await consoleTail(join(folder, 'none')), '')
  t.equal(await capConsole(join(folder, 'none'), 100), 0)
  t.match(await readConsole(join(folder, 'none'), 0, 100), { position: 0, size: 0, data: { length: 0 } })
})

t.test('A symbolic link is not followed', async (t) => {
  const victim = join(folder, 'victim')
  writeFileSync(victim, 'secret\n'.repeat(100))
  const link = join(folder, 'link')
  symlinkSync(victim, link)
  await t.rejects(capConsole(link, 10), { code: 'ELOOP' })
  await t.rejects(consoleTail(link), { code: 'ELOOP' })
})

t.test(
  'A console within its size is kept, a larger one is cut to its end, and its writer goes on behind that',
  async (t) => {
    writeFileSync(path, '')
    const writer = openSync(path, 'a')
    try {
      writeSync(writer, '0123456789'.repeat(10))
      t.equal(await capConsole(path, 100), 0)
      writeSync(writer, 'x')
      t.equal(await capConsole(path, 100), 76)
      t.equal(readFileSync(path, 'utf8'), '6789'.concat('0123456789'.repeat(2), 'x'))
      writeSync(writer, 'after')
      appendFileSync(path, '')
      t.equal(readFileSync(path, 'utf8'), `6789${'0123456789'.repeat(2)}xafter`)
    } finally {
      closeSync(writer)
    }
  },
)

t.test('A log is read by an offset that goes on counting over a cut', async (t) => {
  const vm = join(folder, 'v0')
  const path = join(vm, 'console.log')
  mkdirSync(vm)
  const start = () => createConsoles({ maxBytes: 100, partBytes: 40, log: silentLog })
  let consoles = start()
  const text = async (offset: number) => {
    const part = await consoles.read(path, offset)
    t.ok(part.end >= part.offset + part.data.length)
    return [part.offset, Buffer.from(part.data).toString()]
  }
  writeFileSync(path, '0123456789'.repeat(9))
  t.same(await text(0), [0, '0123456789'.repeat(4)])
  t.same(await text(85), [85, '56789'])
  t.same(await text(90), [90, ''], 'its end')
  appendFileSync(path, 'x'.repeat(30))
  await consoles.cap([path])
  t.same(await text(90), [95, 'x'.repeat(25)], 'what is cut off is left out, and the offset says so')
  t.same(await text(110), [110, 'x'.repeat(10)])
  t.same(await text(120), [120, ''])
  t.equal((await consoles.read(path, 0)).end, 120)
  consoles = start()
  appendFileSync(path, 'after')
  t.same(await text(119), [119, 'xafter'], 'a restart of the daemon changes no offset')
  appendFileSync(path, 'y'.repeat(100))
  await consoles.cap([path])
  t.same(await text(125), [200, 'y'.repeat(25)])
  t.same(
    readdirSync(folder).sort(),
    ['console.log', 'link', 'v0', 'v0.cut', 'victim'],
    'one file is beside the VM’s folder',
  )

  // As a kill between the cut and its count would leave it.
  writeFileSync(join(folder, 'v0.cut'), String(325))
  consoles = start()
  const part = await consoles.read(path, 225)
  t.same([part.offset, part.data.length], [325, 25], 'a gap is told, and nothing is missed')
  writeFileSync(join(folder, 'v0.cut'), 'no number')
  consoles = start()
  t.same(await text(0), [0, 'y'.repeat(25)])
  rmSync(join(folder, 'v0.cut'))
  rmSync(path)
  await consoles.cap([])
  t.same(await text(7), [0, ''], 'a log that is no more is forgotten')
})

t.test('Where the count cannot be kept the log is cut all the same', async (t) => {
  const vm = join(folder, 'v1')
  const path = join(vm, 'console.log')
  mkdirSync(vm)
  mkdirSync(join(folder, 'v1.cut.new'))
  writeFileSync(path, 'x'.repeat(200))
  const lines: string[] = []
  const log = createLog({ level: 'warn', write: (line) => lines.push(line) })
  const consoles = createConsoles({ maxBytes: 100, partBytes: 40, log })
  await consoles.cap([path])
  t.match(await consoles.read(path, 0), { offset: 175, end: 200 })
  t.match(lines[0], /console\.uncounted/)
})
