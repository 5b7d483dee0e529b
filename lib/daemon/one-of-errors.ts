// Failures of things that have nothing to do with each other, as one error: whoever catches it says all of them, and says them once.
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import { type Run, runId } from '../job/run.ts'

const maxTold = 20

/** The first, which decides what kind of failure it is; its message has the others' messages, too, up to a bound. */
export function oneOf(errors: readonly unknown[]): unknown {
  const [first] = errors
  const messages = [...new Set(errors.map((error) => toVmrmError(error).message))]
  if (messages.length < 2) return first
  const { code, hint, quoted } = toVmrmError(first)
  const more = messages.length - maxTold
  const told = [...messages.slice(0, maxTold), ...(more > 0 ? [`and ${more} more failures`] : [])].join('; ')
  return new VmrmError(code, told, { cause: first, hint, ...(quoted === undefined ? {} : { quoted }) })
}

/** What this throws names the run. */
export function namingRun(run: Run, work: () => void): void {
  try {
    work()
  } catch (thrown) {
    const { code, message, hint, quoted } = toVmrmError(thrown)
    throw new VmrmError(code, `${runId(run)}: ${message}`, {
      ...{ cause: thrown, hint },
      ...(quoted === undefined ? {} : { quoted }),
    })
  }
}
