// Whose a VM is, by its name alone.
import { parseVmName, runId } from '../../../job/run.ts'

/** Undefined for a name that is no VM's of a run. */
export function runOfVm(vm: string): string | undefined {
  const parsed = parseVmName(vm)
  return parsed === undefined ? undefined : runId(parsed.run)
}
