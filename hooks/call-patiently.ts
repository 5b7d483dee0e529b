// One message to the daemon of this host, sent again while the daemon is being restarted. It ends within its bounds.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError } from '../lib/errors/vmrm-error.ts'
import { createClient } from '../lib/protocol/client.ts'
import type { ProgramCallType, ReplyOf, RequestOf } from '../lib/protocol/messages.ts'

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
  let downSinceMs: number | undefined
  for (;;) {
    const client = createClient({ connect: { kind: 'local', path }, unreachable: 'daemon-unreachable' })
    const beganMs = performance.now()
    try {
      return await client.call(type, body, { timeoutMs })
    } catch (thrown) {
      const nowMs = performance.now()
      const hasHung = nowMs - beganMs >= timeoutMs
      // Every message of a hook may be sent again: the daemon joins in or answers as before.
      downSinceMs = nowMs - beganMs > downMs ? nowMs : (downSinceMs ?? beganMs)
      if (toVmrmError(thrown).code !== 'daemon-unreachable' || hasHung || nowMs - downSinceMs > downMs) throw thrown
      await delay(retryMs)
    } finally {
      client.close()
    }
  }
}
