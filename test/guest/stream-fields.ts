// What the two ends of a session read of a frame, and vmrmd between them never does: where its bytes lie in their stream.
import type { Frame } from '../../lib/guest/frame/frame.ts'

/** Flag bit 0: the stream ends after this frame's bytes. */
export const flagEnd = 1

export const offsetOf = (frame: Frame): bigint => frame.raw.readBigUInt64LE(24)
export const limitOf = (frame: Frame): bigint => frame.raw.readBigUInt64LE(32)
