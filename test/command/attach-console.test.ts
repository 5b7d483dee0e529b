// What `vmrm console --attach` is made of: the lock of a console, and bytes between terminal and guest. The whole: test/jobs/interactive.test.ts.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { exchange } from '../../lib/command/console/exchange.ts'
import { lockConsole } from '../../lib/command/console/lock.ts'
import { until } from '../support/until.ts'

t.setTimeout(120_000)
const folder = mkdtempSync(join(tmpdir(), 'vmrm-attach-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const lockModule = join(import.meta.dirname, '../../lib/command/console/lock.ts')

/** A process of its own that takes the lock, says so, and keeps it. */
async function holder(): Promise<ChildProcess> {
  const code = `const { lockConsole } = await import(${JSON.stringify(lockModule)})
    await lockConsole(${JSON.stringify(folder)}, 'j1r0v0'); console.log('held'); setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

const taken = {
  code: 'console-taken',
  message: /^another process on this node is attached to the console of VM j1r0v0$/,
}

t.test('a console has one holder, until that releases it or is killed, and no file of it is left', async (t) => {
  const lock = await lockConsole(folder, 'j1r0v0')
  await t.rejects(lockConsole(folder, 'j1r0v0'), taken)
  await lock.release()
  const child = await holder()
  await t.rejects(lockConsole(folder, 'j1r0v0'), taken, "another process's")
  child.kill('SIGKILL')
  await until('the lock is free', async () => {
    const mine = await lockConsole(folder, 'j1r0v0').catch(() => undefined)
    await mine?.release()
    return mine !== undefined
  })
  t.same(readdirSync(folder), [])
})

t.test('of many that want it at once one has it', async (t) => {
  const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockConsole(folder, 'j1r0v0')))
  const [lock, ...more] = tries.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  t.equal(more.length, 0)
  await lock?.release()
})

t.test('where the VM is gone there is a sentence', async (t) => {
  await t.rejects(lockConsole(join(folder, 'none'), 'j1r0v0'), {
    code: 'console-failed',
    message: /^the console of VM j1r0v0 cannot be locked: .*none\/\.: No such file or directory$/,
  })
})

interface Line {
  readonly guest: Socket
  readonly stdin: PassThrough
  readonly stdout: PassThrough
  readonly end: Promise<string>
}

/** A console between a terminal that takes 16 bytes at a time and a guest. */
async function open(t: Test, isTerminal = false): Promise<Line> {
  const path = join(folder, 'console.sock')
  const server: Server = createServer()
  server.listen(path)
  await once(server, 'listening')
  const socket = connect(path)
  const [guest] = (await once(server, 'connection')) as [Socket]
  guest.on('error', () => {})
  t.teardown(() => {
    guest.destroy()
    server.close()
  })
  const stdin = Object.assign(new PassThrough(), { isTTY: isTerminal, setRawMode: () => {} })
  const stdout = new PassThrough({ highWaterMark: 16 })
  const terminal = { stdin, stdout } as unknown as Parameters<typeof exchange>[2]
  return { guest, stdin, stdout, end: exchange(socket, 'j1r0v0', terminal) }
}

async function readAll(stream: PassThrough | Socket, bytes: number): Promise<number> {
  let got = 0
  stream.on('data', (part: Buffer) => {
    got += part.length
  })
  stream.resume()
  await until(`${bytes} bytes`, async () => got === bytes, 60_000)
  return got
}

t.test('bytes go both ways; the end of the VM is told once all it said is shown', async (t) => {
  const { guest, stdin, stdout, end } = await open(t)
  stdin.write('typed')
  t.equal(String(await once(guest, 'data')), 'typed')
  guest.end('x'.repeat(300_000))
  t.equal(await readAll(stdout, 300_000), 300_000)
  t.equal(await end, 'ended')
})

t.test('who does not read holds the guest back, and the guest who does not read the input', async (t) => {
  const { guest, stdin, stdout, end } = await open(t)
  const much = Buffer.alloc(8 << 20)
  guest.write(much)
  await until('the terminal has some', async () => stdout.readableLength + stdout.writableLength > 0)
  await until('the guest is held back', async () => guest.writableLength > 0 && guest.writableNeedDrain)
  t.ok(stdout.writableLength < 1 << 20, 'it is not kept in memory')
  guest.pause()
  stdin.write(much)
  t.equal(await readAll(stdout, much.length), much.length)
  stdin.write(much)
  await until('the input is held back', async () => stdin.isPaused())
  t.equal(await readAll(guest, 2 * much.length), 2 * much.length)
  stdin.end('last')
  t.equal(await end, 'detached')
})

t.test('a person gets away by Ctrl-] from a guest that takes nothing', async (t) => {
  const { guest, stdin, end } = await open(t, true)
  guest.pause()
  stdin.write(Buffer.alloc(4 << 20))
  stdin.write('\x1d')
  t.equal(await end, 'detached')
})

t.test('a connection that breaks is no end of the VM', async (t) => {
  const { guest, stdin, end } = await open(t)
  // Input that was not read makes the end of the other side a reset.
  guest.pause()
  stdin.write('x'.repeat(100))
  const left = (async () =>
    t.rejects(end, { code: 'console-failed', message: /^the console of VM j1r0v0 broke off: / }))()
  await until('it is there', async () => stdin.readableLength === 0)
  guest.destroy()
  await left
})
