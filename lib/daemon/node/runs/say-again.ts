// Something that the controller must hear: said again each second until nobody needs to say it any more. It decides nothing.

const againMs = 1000

/** `say` must not reject; it is not called again while it is under way. */
export function sayAgain(isNeeded: () => boolean, say: () => Promise<void>): void {
  let isSaying = false
  const again = async () => {
    if (!isNeeded()) return clearInterval(timer)
    if (isSaying) return
    isSaying = true
    await say()
    isSaying = false
  }
  const timer = setInterval(() => void again(), againMs)
  timer.unref()
}
