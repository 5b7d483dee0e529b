// vmrm sbcast without a cluster: its command line as Slurm's own takes it, and what the receiver in a VM makes of bytes that are whole or not.
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { readSbcast } from '../../lib/command/sbcast/options.ts'
import { type Reception, readReports, receiverCommand, trailerOf } from '../../lib/command/sbcast/receiver.ts'

t.test('options are read as getopt reads them', async (t) => {
  const plain = { source: 'a', destination: 'b', whenThere: 'fail', times: 'new', libraries: 'none', isVerbose: false }
  t.same(readSbcast(['a', 'b']), plain)
  t.same(readSbcast(['-fpv', 'a', '-F4', 'b']), { ...plain, whenThere: 'replace', times: 'preserved', isVerbose: true })
  t.same(readSbcast(['--forc', '--pres', '--jobid=12.3', '-s', '1m', '-t9', 'a', 'b']).job, '12.3')
  t.same(readSbcast(['-C', 'a', '--compress=lz4', '--exclude=/lib', '--send-libs=no', 'b']), plain)
  t.same(readSbcast(['--send-libs', 'a', 'b']).libraries, 'asked-for')
  t.same(readSbcast(['--', '-f', 'b']), { ...plain, source: '-f' })
  t.same(readSbcast(['--source-mode=0755', '--source-times=1,2', 'a', 'b']).relayed, {
    mode: 0o755,
    atime: '1',
    mtime: '2',
  })
  for (const [args, code, says] of [
    [['a'], 1, /^Need two file names, have 1 names$/],
    [['-Z', 'a', 'b'], 1, /^sbcast: invalid option -- 'Z'$/],
    [['--nosuch', 'a', 'b'], 1, /unrecognized option '--nosuch'/],
    [['--s', 'a', 'b'], 1, /ambiguous/],
    [['-j', 'abc', 'a', 'b'], 255, /lookup error/],
    [['--source-mode=99', 'a', 'b'], 1, /for calls from a VM/],
  ] as const) {
    t.throws(() => readSbcast(args), { exitCode: code, message: says }, args.join(' '))
  }
})

async function receive(t: Test, bytes: Buffer, change: Partial<Reception> = {}) {
  const folder = change.destination === undefined ? t.testdir() : ''
  const destination = change.destination ?? join(folder, 'file')
  const [file = '', ...args] = receiverCommand({ destination, mode: 0o640, whenThere: 'fail', ...change })
  const result = await execa(file, args, { input: bytes, env: { SLURMD_NODENAME: 'n1' }, reject: false, cwd: '/' })
  return { destination, ...readReports(result.stdout) }
}

const whole = (bytes: Buffer) => Buffer.concat([bytes, Buffer.from(trailerOf(bytes.length))])
const some = Buffer.from('any\0 bytes\n'.repeat(10_000))

t.test('a file is whole, with its mode and times, or it is not there', async (t) => {
  const name = (path: string) => join(t.testdirName, path)
  t.testdir({ 'a b': {} })
  const times = { atime: '1000000000', mtime: '1000000001' }
  const first = await receive(t, whole(some), { destination: name("a b/it's $(x)"), mode: 0o104751, times })
  t.match(first, { done: 1, failures: [], exitCode: 0 })
  t.same(readFileSync(first.destination), some)
  t.match(statSync(first.destination), { mode: 0o104751, mtimeMs: 1_000_000_001_000 })
  t.match(await receive(t, whole(Buffer.alloc(0)), { destination: name('empty') }), { done: 1 })
  t.equal(statSync(name('empty')).size, 0)
  for (const [what, bytes] of [
    ['nothing at all', Buffer.alloc(0)],
    ['no trailer', some],
    ['half of it', whole(some).subarray(0, 5000)],
    ['the trailer of a longer one', Buffer.concat([some, Buffer.from(trailerOf(some.length + 1))])],
  ] as const) {
    const cut = await receive(t, bytes, { destination: name('cut') })
    t.match(cut, { done: 0, failures: ['REQUEST_FILE_BCAST(n1): Input/output error'], exitCode: 5 }, what)
  }
  t.same(readdirSync(name('.')).sort(), ['a b', 'empty'], 'and nothing else is left')
})

t.test('what cannot be is said as sbcast says it, and changes nothing', async (t) => {
  const folder = t.testdir({ there: 'old', folder: {} })
  symlinkSync('nowhere', join(folder, 'link'))
  const cases: [string, Partial<Reception>, RegExp, number][] = [
    ['there', {}, /File exists/, 17],
    ['link', {}, /File exists/, 17],
    ['folder', {}, /File exists/, 17],
    ['folder', { whenThere: 'replace' }, /Is a directory/, 21],
    ['nosuch/file', {}, /No such file or directory/, 2],
    ['there/file', {}, /Not a directory/, 20],
  ]
  for (const [path, change, says, exitCode] of cases) {
    const got = await receive(t, whole(some), { destination: join(folder, path), ...change })
    t.match(got, { done: 0, failures: [says], exitCode }, path)
  }
  t.equal(readFileSync(join(folder, 'there'), 'utf8'), 'old')
  t.match(await receive(t, whole(some), { destination: join(folder, 'there'), whenThere: 'replace' }), { done: 1 })
  t.same(readFileSync(join(folder, 'there')), some)
  t.ok(lstatSync(join(folder, 'link')).isSymbolicLink())
  t.notOk(existsSync(join(folder, 'nosuch')))
})
