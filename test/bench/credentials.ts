// What a number of credentials costs by itself: the floor of everything that travels in them.
import { mungeDecode, mungeEncode } from '../../lib/munge/client.ts'
import type { SimulatedSite } from '../sim/controller.ts'

const atOnce = 16
/** As long as a share's. */
const payload = Buffer.alloc(1200, '<vm a="1"/>')

/** Milliseconds for `count` credentials, each made or opened, half and half, by the controller's munged for one process. */
export async function credentialsMs({ mungeSocket: socketPath }: SimulatedSite, count: number): Promise<number> {
  let left = Math.ceil(count / 2)
  const beganMs = performance.now()
  const work = async () => {
    while (left > 0) {
      left -= 1
      await mungeDecode(await mungeEncode({ payload, socketPath }), { socketPath })
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  return performance.now() - beganMs
}
