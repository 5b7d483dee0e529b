// The limits every message is held to, on both sides. Numbers only.

/** One frame on any socket: an XML message, or a MUNGE credential. */
export const frameLimitBytes = 512 * 1024
/** A message that is to travel in a credential, which is a third longer (base64) and has the seal around it. */
export const sealedMessageLimitBytes = 380 * 1024
/** Elements inside each other, the root included. */
export const depthLimit = 16
/** Elements of one list, unless its definition says less. */
export const listLimit = 16_384
