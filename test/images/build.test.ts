// What `test/images/build` promises: nothing twice, nothing half, and a sentence for what is missing.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { loadImage } from '../../lib/config/load.ts'
import { writeArchive } from './cpio.ts'
import { unpackKernel } from './kernel.ts'
import { ModuleIndex } from './modules.ts'

const build = join(import.meta.dirname, 'build')
const agent = join(import.meta.dirname, 'fixtures/stand-in-agent')
const unchangedMs = 2000

async function scratch(test: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vmrm-build-test-'))
  test.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const run = (...args: string[]) => execa(build, args, { reject: false, timeout: 240_000 })

t.setTimeout(600_000)

t.test('a build is whole, and the second one finds nothing to do', async (test) => {
  const output = await scratch(test)
  const first = await run('tiny', '--output', output, '--agent', agent)
  test.equal(first.exitCode, 0, first.stderr)
  const files = (await readdir(output)).sort()
  const names = ['tiny', 'tiny-hang', 'tiny-noboot', 'tiny-panic']
  const expected = [
    ...names.map((name) => `${name}.xml`),
    ...['tiny.initrd', 'tiny-hang.initrd', 'tiny-panic.initrd', 'tiny.qcow2', 'tiny.stamp.json', 'tiny.vmlinux'],
    'tiny-noboot.vmlinux',
  ]
  test.same(files, expected.sort())
  for (const name of names) test.equal(loadImage(join(output, `${name}.xml`)).master.path, join(output, 'tiny.qcow2'))

  const stamp = await readFile(join(output, 'tiny.stamp.json'), 'utf8')
  const startedMs = performance.now()
  const second = await run('broken', '--output', output, '--agent', agent)
  test.match(second.stdout, /is up to date/)
  test.ok(performance.now() - startedMs < unchangedMs, 'at once')
  test.equal(await readFile(join(output, 'tiny.stamp.json'), 'utf8'), stamp)

  await writeFile(join(output, 'tiny.qcow2'), 'damaged')
  const third = await run('tiny', '--output', output, '--agent', agent)
  test.match(third.stdout, /, 0 of them downloaded/)
  test.match(third.stdout, /tiny is ready/, 'a damaged master is made again')
})

t.test('an interrupted build leaves nothing', async (test) => {
  const output = await scratch(test)
  const child = execa(build, ['tiny', '--output', output, '--agent', agent], { reject: false, timeout: 240_000 })
  for await (const line of child) if (line.includes('packages')) child.kill('SIGTERM')
  const { exitCode } = await child
  test.not(exitCode, 0)
  test.same(await readdir(output), [])
})

t.test('what is wrong is said in a sentence', async (test) => {
  const missing = await run('tiny', '--agent', '/nonexistent/agent')
  test.match(
    missing.stderr,
    /vmrm: building an image: there is no agent at \/nonexistent\/agent\nvmrm: Run `npm run build`/,
  )
  test.not(missing.exitCode, 0)
  const unknown = await run('huge')
  test.match(unknown.stderr, /no image of that name: huge/)
  test.equal(unknown.exitCode, 65)
})

t.test('modules are loaded after what they need, each once', async (test) => {
  const index = new ModuleIndex('k/blk.ko: k/core.ko k/ring.ko\nk/core.ko: k/ring.ko\nk/ring.ko:\n', 'k/built-in.ko\n')
  test.same(index.closure(['blk', 'core', 'built-in']), ['k/ring.ko', 'k/core.ko', 'k/blk.ko'])
  test.throws(() => index.closure(['gone']), { code: 'command-failed', message: /the kernel has no gone/ })
})

t.test('archives are what cpio reads', async (test) => {
  const archive = writeArchive([
    { kind: 'folder', path: 'd' },
    { kind: 'file', path: 'd/f', content: Buffer.from('five5'), mode: 0o755 },
    { kind: 'link', path: 'l', target: 'd/f' },
    { kind: 'device', path: 'c', major: 5, minor: 1 },
  ])
  const { stdout } = await execa('/usr/bin/cpio', ['-t', '-v', '--quiet'], {
    input: archive,
    env: { LC_ALL: 'C', TZ: 'UTC' },
  })
  test.match(stdout, /^drwxr-xr-x .* d\n-rwxr-xr-x .* 5 .* d\/f\nlrwxrwxrwx .* l -> d\/f\ncrw------- .* 5, +1 .* c$/)
})

t.test('what is no compressed kernel is refused', async (test) => {
  test.throws(() => unpackKernel(Buffer.alloc(4096)), { code: 'command-failed', message: /not compressed with lz4/ })
})
