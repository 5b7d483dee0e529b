// Run by bun (see bun.test.ts), not by tap: the server with the kernel's peer credentials, and both transports, in the
// runtime that the shipped binary has. Prints one JSON line with what it saw.
import { execFile } from 'node:child_process'
import { silentLog } from '../../../lib/log.ts'
import { createClient } from '../../../lib/protocol/client.ts'
import { peerCredentials } from '../../../lib/protocol/peer-credentials.ts'
import { createServer } from '../../../lib/protocol/server.ts'
import type { Caller } from '../../../lib/protocol/transport/caller.ts'

const [path = '', socketPath = '', asker = ''] = process.argv.slice(2)
const ownUid = process.getuid?.() ?? 0
const callers: Caller[] = []
const munge = { socketPath }
const server = await createServer({
  role: 'controller',
  trustedUids: [ownUid],
  log: silentLog,
  handlers: {
    'show-image': ({ name }, caller) => {
      callers.push(caller)
      return { xml: `${name}\n` }
    },
    subscribe: (_request, _caller, context) => {
      context.emit('run-state', { job: 5, restart: 0, state: 'ended' })
      return {}
    },
  },
  listen: [
    { kind: 'local', path, peerCredentials },
    { kind: 'munge', host: '127.0.0.1', port: 0, name: 'controller', ownUid, munge },
  ],
})
const end = { name: 'user', to: 'controller', ownUid, receiverUid: ownUid, trustedUids: [ownUid], munge }
const targets = [
  { kind: 'local', path } as const,
  { kind: 'munge', host: '127.0.0.1', port: server.port ?? 0, ...end } as const,
]
const replies: number[] = []
let events = 0
for (const connect of targets) {
  const client = createClient({ connect, unreachable: 'controller-unreachable' })
  const names = Array.from({ length: 200 }, (_, index) => `image${index}`)
  const found = await Promise.all(names.map((name) => client.call('show-image', { name })))
  replies.push(found.filter(({ xml }, index) => xml === `${names[index]}\n`).length)
  for await (const { body } of await client.subscribe({ events: ['run-state'] })) {
    events += body.job
    break
  }
  client.close()
}
// As another user: what the kernel says must be that user.
callers.length = 0
await new Promise((resolve) => {
  execFile(asker, [path], { uid: 65534, gid: 65534, env: {}, timeout: 20_000 }, resolve)
})
const [stranger] = callers
await server.close()
console.log(JSON.stringify({ replies, events, stranger, pid: process.pid }))
