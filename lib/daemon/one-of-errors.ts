// Failures of things that have nothing to do with each other, as one error: whoever catches it says all of them, and says them once.
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import { type Run, runId } from '../job/run.ts'

const maxTold = 20

/** The first, which decides what kind of failure it is; its message has the others' messages, too, up to a bound. */
export function oneOf(errors: readonly unknown[]): unknown {
  const [first] = errors
  const messages = [...new Set(errors.map((error) => toVmrmError(error).message))]
  if (messages.length < 2) return first
  const more = messages.length - maxTold
  const told = [...messages.slice(0, maxTold), ...(more > 0 ? [`and ${more} more failures`] : [])].join('; ')
  return reworded(first, told)
}

/** What this throws names the run. */
export function namingRun(run: Run, work: () => void): void {
  try {
    work()
  } catch (thrown) {
    throw reworded(thrown, `${runId(run)}: ${toVmrmError(thrown).message}`)
  }
}

/** The same failure, told otherwise. */
function reworded(thrown: unknown, message: string): VmrmError {
  const { code, hint, quoted } = toVmrmError(thrown)
  return new VmrmError(code, message, { cause: thrown, hint, ...(quoted === undefined ? {} : { quoted }) })
}
