// A run is one life of a job: (job id, restart count). It owns the names that derive from it and nothing else.
import { VmrmError } from '../errors/vmrm-error.ts'

declare const brand: unique symbol
/** `j123r0`: made by runId() or parseRunId() only, so it is safe as a file, device and domain name. */
export type RunId = string & { readonly [brand]: 'RunId' }

export interface Run {
  /** Slurm's job id; of an array task its own id. */
  readonly job: number
  /** SLURM_JOB_RESTART_COUNT: 0 in the first run. */
  readonly restart: number
}

const maxJob = 0xffff_ffff

export function runId({ job, restart }: Run): RunId {
  const fine =
    Number.isInteger(job) && job > 0 && job <= maxJob && Number.isInteger(restart) && restart >= 0 && restart <= 0xffff
  if (!fine) throw new VmrmError('request-invalid', `not a run: job ${job}, restart ${restart}`)
  return `j${job}r${restart}` as RunId
}

/** The run a name stands for, or undefined if the name is not one of a run's. */
export function parseRunId(text: string): Run | undefined {
  const match = /^j([1-9]\d{0,9})r(0|[1-9]\d{0,4})$/.exec(text)
  if (match === null) return undefined
  const run = { job: Number(match[1]), restart: Number(match[2]) }
  return run.job <= maxJob ? run : undefined
}

/** `j123r0v4`: the domain name of the VM with that index; the index counts over the whole run. */
export function vmName(run: Run, index: number): string {
  return `${runId(run)}v${index}`
}

/** The run and index a domain name stands for, or undefined if vmrm did not make the name. */
export function parseVmName(name: string): { run: Run; index: number } | undefined {
  const match = /^(j\d+r\d+)v(0|[1-9]\d{0,6})$/.exec(name)
  const run = match?.[1] === undefined ? undefined : parseRunId(match[1])
  return run === undefined ? undefined : { run, index: Number(match?.[2]) }
}
