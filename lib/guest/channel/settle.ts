// Waiting for one answer that an abort or a broken channel ends. It leaves no listener behind, however it ends.

export interface Settling<T> {
  readonly signal: AbortSignal
  /** Starts the wait; the answer undoes its subscription. */
  readonly begin: (resolve: (value: T) => void) => () => void
  /** Subscribes to what makes an answer impossible; the answer undoes it. */
  readonly watch: (broken: (error: Error) => void) => () => void
}

/** What `begin` resolves with. Rejects with the signal's reason, or with the error that `watch` reports. */
export function settleUnlessBroken<T>({ signal, begin, watch }: Settling<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const undo: (() => void)[] = []
    const stop = () => {
      for (const step of undo.splice(0)) step()
    }
    const fail = (error: unknown) => {
      stop()
      reject(error)
    }
    const aborted = () => fail(signal.reason)
    signal.addEventListener('abort', aborted)
    undo.push(() => signal.removeEventListener('abort', aborted), watch(fail))
    undo.push(
      begin((value) => {
        stop()
        resolve(value)
      }),
    )
  })
}
