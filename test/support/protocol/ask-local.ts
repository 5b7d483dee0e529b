// Run by under-bun.ts as another user: one call over the local socket.
import { createClient } from '../../../lib/protocol/client.ts'

const client = createClient({
  connect: { kind: 'local', path: process.argv[2] ?? '' },
  unreachable: 'controller-unreachable',
})
await client.call('show-image', { name: 'stranger' })
client.close()
