// The same sources under bun, compiled as they are shipped: transports, and peer credentials from the kernel.
import { execFile } from 'node:child_process'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { peerCredentials } from '../../lib/protocol/peer-credentials.ts'
import { startMunged } from '../support/munged.ts'
import { scratch } from '../support/protocol/fixtures.ts'

const run = promisify(execFile)
const bun = join(import.meta.dirname, '../../node_modules/@oven/bun-linux-x64/bin/bun')
const bounds = { timeout: 60_000, env: { PATH: '/usr/bin:/bin' } }

t.test('both transports work in the compiled binary, and the kernel says who is at a local socket', async (t) => {
  const munged = await startMunged()
  t.teardown(() => munged.stop())
  const folder = scratch(t)
  chmodSync(folder, 0o755)
  const compile = async (name: string) => {
    const file = join(folder, name)
    const source = join(import.meta.dirname, `../support/protocol/${name}.ts`)
    await run(bun, ['build', '--compile', '--minify', source, '--outfile', file], bounds)
    return file
  }
  const server = await compile('under-bun')
  const asker = await compile('ask-local')
  const { stdout } = await run(server, [join(folder, 'sock'), munged.socketPath, asker], bounds)
  const seen = JSON.parse(stdout)
  t.same(seen.replies, [200, 200])
  t.equal(seen.events, 10)
  t.match(seen.stranger, { from: 'local', uid: 65534, gid: 65534, pid: Number })
  t.not(seen.stranger.pid, seen.pid)
})

t.test('on Node.js peer credentials are a clear error, not a guess', async (t) => {
  await t.rejects(peerCredentials({} as never), { code: 'internal', message: /inject/ })
})
