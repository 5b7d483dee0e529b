// `vmrm cp` without a VM: its scripts under the real sh and tar, and what it makes of a hostile archive. The real one: test/jobs/interactive.test.ts.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { archiveOf } from '../../lib/command/cp/archive.ts'
import { type Destination, extract } from '../../lib/command/cp/extract.ts'
import { baseName, receiveScript, sendScript } from '../../lib/command/cp/guest-scripts.ts'
import { parsePlace } from '../../lib/command/cp/place.ts'
import { readHeader, writeHeader } from '../../lib/command/cp/tar-header.ts'
import { cp } from '../../lib/command/cp.ts'

const odd = "a b\n'$(id)*"

/** A folder with a file of odd name, a long name, a link, a read-only folder, and times of its own. */
function makeTree(within: string): string {
  const folder = join(within, 'src')
  mkdirSync(join(folder, 'ro'), { recursive: true })
  writeFileSync(join(folder, odd), 'odd', { mode: 0o640 })
  writeFileSync(join(folder, 'n'.repeat(200)), Buffer.alloc(300_001, 7))
  writeFileSync(join(folder, 'ro/x'), 'x', { mode: 0o751 })
  symlinkSync('ro/x', join(folder, 'link'))
  utimesSync(join(folder, odd), 1e9, 1e9)
  chmodSync(join(folder, 'ro'), 0o555)
  return folder
}

function describe(folder: string): unknown {
  return readdirSync(folder, { recursive: true })
    .map(String)
    .sort()
    .map((name) => {
      const { mode, size, mtimeMs } = statSync(join(folder, name))
      const isFolder = statSync(join(folder, name)).isDirectory()
      return [name, mode.toString(8), isFolder ? 0 : size, name === odd ? Math.floor(mtimeMs / 1000) : 0]
    })
}

function guest(script: string, home: string, ...args: string[]) {
  const child = spawn('sh', ['-c', script, 'sh', ...args], { env: { PATH: '/usr/bin:/bin', HOME: home }, cwd: '/' })
  let stderr = ''
  child.stderr.on('data', (part) => {
    stderr += String(part)
  })
  const ended = once(child, 'close').then(([code]) => ({ code: code as number, stderr }))
  return { child, ended }
}

t.test('what is copied there and back is the same, links followed, with modes and times', async (t) => {
  const home = t.testdir({ there: {}, back: {} })
  const tree = makeTree(home)
  const problems: string[] = []
  const complain = (path: string, problem: string) => problems.push(`${path}: ${problem}`)
  for (const [target, answer, name] of [
    ['there', 'folder', 'src'],
    ['new', 'name', 'new'],
  ] as const) {
    const { child, ended } = guest(receiveScript, home, '1:', 'folder', target)
    const [first] = await once(child.stdout, 'data')
    t.equal(String(first), `${answer}\n`)
    const sources = [{ path: tree, name: `./${name}` }]
    await pipeline(Readable.from(archiveOf(sources, { recursive: true, complain })), child.stdin)
    t.same(await ended, { code: 0, stderr: '' })
    const copy = join(home, target === 'there' ? 'there/src' : 'new')
    t.same(describe(copy), describe(tree))
    t.notOk(lstatSync(join(copy, 'link')).isSymbolicLink())
  }
  for (const [paths, to] of [
    [['there/src'], { path: join(home, 'back'), how: 'inside', names: ['src'] }],
    [['there/src/'], { path: join(home, 'again'), how: 'as', names: ['src'] }],
    [['there/src/.'], { path: join(home, 'contents'), how: 'as', names: ['.'] }],
  ] as const satisfies [string[], Destination][]) {
    t.same(paths.map(baseName), to.names)
    const { child, ended } = guest(sendScript, home, '1:', 'r', ...paths)
    await extract(child.stdout, to, complain)
    t.same(await ended, { code: 0, stderr: '' })
    const copy = to.how === 'inside' ? join(to.path, 'src') : to.path
    t.same(describe(copy), describe(tree), paths[0])
  }
  t.same(problems, [])
})

t.test('what cannot be copied is told by name, and the rest is copied', async (t) => {
  const home = t.testdir({ file: 'f', '*': 'star', folder: { loop: {} } })
  symlinkSync('..', join(home, 'folder/loop/up'))
  const send = async (recursive: string, names: string[], ...paths: string[]) => {
    const { child, ended } = guest(sendScript, home, '1:', recursive, ...paths)
    await extract(child.stdout, { path: home, how: 'inside', names }, () => {})
    return ended
  }
  t.same(await send('', ['none'], 'none'), { code: 1, stderr: 'vmrm: 1:none: No such file or directory\n' })
  t.same(await send('', ['fil*'], 'fil*'), { code: 1, stderr: 'vmrm: 1:fil*: No such file or directory\n' })
  t.same(await send('', ['*'], '*'), { code: 0, stderr: '' }, 'a star is a star')
  t.match(await send('', ['folder'], 'folder'), {
    code: 1,
    stderr: 'vmrm: 1:folder: is a directory (not copied without -r)\n',
  })
  const receive = async (...args: string[]) => {
    const { child, ended } = guest(receiveScript, home, '1:', ...args)
    child.stdin.end()
    return ended
  }
  t.match(await receive('file', 'no/such'), { code: 1, stderr: 'vmrm: 1:no/such: No such file or directory\n' })
  t.match(await receive('folder', 'file'), { code: 1, stderr: 'vmrm: 1:file: Not a directory\n' })
  t.match(await receive('many', 'new'), { code: 1, stderr: 'vmrm: 1:new: No such file or directory\n' })
  const problems: string[] = []
  const complain = (_path: string, problem: string) => problems.push(problem)
  const sources = ['none', 'folder', 'file'].map((name) => ({ path: join(home, name), name: `./${name}` }))
  for await (const _part of archiveOf(sources, { recursive: true, complain }));
  for await (const _part of archiveOf(sources.slice(1, 2), { recursive: false, complain }));
  t.same(problems, [
    'No such file or directory',
    'a symbolic link leads back to a folder above it',
    'is a directory (not copied without -r)',
  ])
})

const entry = (name: string, more: Partial<Parameters<typeof writeHeader>[0]> = {}) =>
  writeHeader({ name: Buffer.from(name), mode: 0o644, size: 0, mtime: 1, type: '0', ...more })

/** A header with a link's target, which writeHeader has no need of. */
function linkTo(name: string, target: string, type: string): Buffer {
  const block = entry(name, { type })
  block.write(target, 157)
  block.write('        ', 148)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

t.test('a hostile archive writes nothing outside, makes no link and gives no rights', async (t) => {
  const home = t.testdir({ in: {}, secret: 's' })
  const to: Destination = { path: join(home, 'in'), how: 'inside', names: ['f'] }
  const problems: string[] = []
  const play = (...parts: Buffer[]) =>
    extract(Readable.from(parts), to, (path, problem) => problems.push(`${path}: ${problem}`))
  for (const name of ['../x', 'f/../../x', '/etc/x', 'g', '.', './../in2', 'n'.repeat(150)])
    await t.rejects(play(entry(name)), { code: 'peer-error', message: /not asked for/ }, JSON.stringify(name))
  await t.rejects(play(linkTo('f', '../secret', '1')), { code: 'peer-error', message: /not asked for/ })
  await t.rejects(play(entry('f', { size: 10 }), Buffer.from('short')), { message: /ends too early/ })
  await t.rejects(play(Buffer.alloc(512, '1')), { message: /wrong checksum/ })
  await t.rejects(play(entry('f', { type: 'L', size: 2 ** 40 })), { message: /name is too long/ })
  t.same(readdirSync(home).sort(), ['in', 'secret'])
  rmSync(join(home, 'in/f'))
  await play(linkTo('f', '/etc/passwd', '2'))
  t.same(problems, [`${join(home, 'in/f')}: not a regular file`])
  t.notOk(existsSync(join(home, 'in/f')))
  await play(
    entry('f', { mode: 0o6755, size: 2 }),
    Buffer.concat([Buffer.from('ok'), Buffer.alloc(510)]),
    Buffer.alloc(1024),
  )
  t.equal(readFileSync(join(home, 'in/f'), 'utf8'), 'ok')
  t.equal((statSync(join(home, 'in/f')).mode & 0o7777).toString(8), '755')
})

t.test('headers hold large files and long names', async (t) => {
  const large = writeHeader({ name: Buffer.from('f'), mode: 0o600, size: 2 ** 40, mtime: 5, type: '0' })
  t.match(readHeader(large), { size: 2 ** 40, mode: 0o600, mtime: 5 })
  t.equal(readHeader(Buffer.alloc(512)), undefined)
})

t.test('arguments name places here and in a VM', async (t) => {
  t.same(parsePlace('12_3.4:a:b'), { side: 'guest', job: '12_3', vm: 4, path: 'a:b', label: '12_3.4:' })
  t.same(parsePlace('12:'), { side: 'guest', job: '12', vm: 0, path: '', label: '12:' })
  for (const path of ['./12:3', 'a', '0:x', 'host:x', '/12:3', '12.x:3'])
    t.same(parsePlace(path), { side: 'here', path })
  for (const args of [
    [],
    ['a'],
    ['a', 'b'],
    ['1:a', '1:b'],
    ['1:a', '2:b', 'c'],
    ['1:a', 'b', 'c'],
    ['1:a', 'b', '1:c'],
  ])
    await t.rejects(cp.run(args), { name: 'UsageError' }, args.join(' '))
})
