// Texts that must get through whatever is in them: a guest's, a tool's or a user's words may not keep a message from being sent.
import { longestReason } from './messages/common.ts'
import { replaceUnrepresentable } from './xml/text.ts'

/** The text as a message can carry it: cut to `limit` UTF-16 units, with U+FFFD for what XML cannot hold. */
export function asReason(text: string, limit = longestReason): string {
  return replaceUnrepresentable(text.slice(0, limit))
}
