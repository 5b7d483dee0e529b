// How many frames of sessions a guest has had vmrmd read, whatever became of them.
import type { GuestChannel } from '../../lib/guest/channel/channel.ts'

/** Counts from now on, until the channel's relay is another. */
export function countFrames(channel: GuestChannel): () => number {
  const { onFrame } = channel
  let count = 0
  channel.onFrame = (frame) => {
    count += 1
    onFrame(frame)
  }
  return () => count
}
