// Sending a VM's state to a QEMU that closes when it likes, with a socket in QEMU's place.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { sendState } from '../../lib/vm/state-transfer.ts'

const never = new AbortController().signal
/** More than a socket's buffers hold. */
const stateBytes = 4 << 20

async function listen(t: Test, onConnection: (socket: Socket) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-state-'))
  const [socketPath, statePath] = [join(folder, 'socket'), join(folder, 'state')]
  writeFileSync(statePath, Buffer.alloc(stateBytes, 7))
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => {}))
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
    rmSync(folder, { recursive: true })
  })
  return { socketPath, statePath }
}

t.test('all of the file arrives', async (t) => {
  let count = 0
  const paths = await listen(t, (socket) =>
    socket.on('data', (chunk: Buffer) => {
      count += chunk.length
      if (count === stateBytes) socket.destroy()
    }),
  )
  await sendState({ ...paths, signal: never })
  t.equal(count, stateBytes)
  t.notOk(existsSync(paths.socketPath))
})

t.test('a QEMU that closes before everything is known to be sent has ended, and can be asked', async (t) => {
  const paths = await listen(t, (socket) => socket.once('data', () => socket.destroy()))
  await t.resolves(sendState({ ...paths, signal: never }))
})

t.test('a state that is not there, and an abort, are failures', async (t) => {
  const stop = new AbortController()
  const paths = await listen(t, () => stop.abort(new Error('stopped')))
  await t.rejects(sendState({ ...paths, signal: stop.signal }))
  rmSync(paths.statePath)
  await t.rejects(sendState({ ...paths, signal: never }), { code: 'ENOENT' })
})
