// Something to be done again and again while the daemon lives: never twice at once, and a failure is logged, not fatal.
import { toVmrmError } from '../errors/vmrm-error.ts'
import type { Log } from '../log.ts'

/** Runs `work` now and then `intervalMs` after its end, until the returned function is called. */
export function repeatEvery(options: {
  intervalMs: number
  event: string
  log: Log
  work: () => Promise<void> | void
}): () => void {
  let timer: NodeJS.Timeout | undefined
  let state: 'running' | 'stopped' = 'running'
  let lastProblem = ''
  const round = async () => {
    try {
      await options.work()
      lastProblem = ''
    } catch (thrown) {
      const { message } = toVmrmError(thrown)
      // Said once: a controller that is down for a day need not fill the log.
      if (message !== lastProblem) options.log.warn(options.event, { text: message })
      lastProblem = message
    }
    if (state === 'running') timer = setTimeout(() => void round(), options.intervalMs)
  }
  void round()
  return () => {
    state = 'stopped'
    clearTimeout(timer)
  }
}
