// One message to the daemon of this host, sent again while the daemon is being restarted. It ends within its bounds.
import type { VmrmError } from '../lib/errors/vmrm-error.ts'
import { createClient } from '../lib/protocol/client.ts'
import type { ProgramCallType, ReplyOf, RequestOf } from '../lib/protocol/messages.ts'
import { patiently } from '../lib/protocol/patiently.ts'

const retryMs = 250

/**
 * The reply. Rejects with `daemon-unreachable` when nothing answers at `path` for `downMs`, or when a daemon that is there
 * does not answer for `timeoutMs`; with what the daemon replies otherwise.
 */
export async function callPatiently<T extends ProgramCallType>(options: {
  path: string
  type: T
  body: RequestOf<T>
  timeoutMs: number
  downMs: number
}): Promise<ReplyOf<T>> {
  const { path, type, body, timeoutMs, downMs } = options
  const call = async () => {
    const client = createClient({ connect: { kind: 'local', path }, unreachable: 'daemon-unreachable' })
    try {
      return await client.call(type, body, { timeoutMs })
    } finally {
      client.close()
    }
  }
  // Every message of a hook may be sent again: the daemon joins in or answers as before. One that hangs does not.
  const isAway = ({ code }: VmrmError, tookMs: number) => code === 'daemon-unreachable' && tookMs < timeoutMs
  return patiently(call, { patienceMs: downMs, presentMs: downMs, pauseMs: retryMs, isAway })
}
