// A run is one life of a job, (job id, restart count), or a batch: VMs without a job. It owns the names that derive from it and nothing else.
import { VmrmError } from '../errors/vmrm-error.ts'

declare const brand: unique symbol
/** `j123r0`, `b7r0`: made by runId() or parseRunId() only, so it is safe as a file, device and domain name. */
export type RunId = string & { readonly [brand]: 'RunId' }

/** The key of a run everywhere: in messages, journals and the ledger. */
export interface Run {
  /** Slurm's job id; of an array task its own id. Of a batch a number that no job can have: see batchRun(). */
  readonly job: number
  /** SLURM_JOB_RESTART_COUNT: 0 in the first run. Of a batch always 0. */
  readonly restart: number
}

/** Whose VMs they are: Slurm's job, which begins and ends them, or nobody's but of those who asked for them. */
export type Origin = { readonly kind: 'job'; readonly job: number } | { readonly kind: 'batch'; readonly batch: number }

/** Slurm's ids have 32 bits, so what is above is free; a batch's number has as many. */
const largestNumber = 0xffff_ffff
const firstBatch = largestNumber + 1
const largestRunNumber = firstBatch + largestNumber

export function originOf({ job }: Pick<Run, 'job'>): Origin {
  return job > largestNumber ? { kind: 'batch', batch: job - firstBatch } : { kind: 'job', job }
}

export function isBatch(run: Pick<Run, 'job'>): boolean {
  return originOf(run).kind === 'batch'
}

export function batchRun(batch: number): Run {
  return { job: firstBatch + batch, restart: 0 }
}

/** As people write it: `123`, `b7`. */
export function originName(run: Pick<Run, 'job'>): string {
  const origin = originOf(run)
  return origin.kind === 'job' ? String(origin.job) : `b${origin.batch}`
}

/** The number of a batch from its name, `b7`; undefined for anything else. */
export function parseBatchName(text: string): number | undefined {
  const [, digits] = /^b([1-9]\d{0,9})$/.exec(text) ?? []
  return digits === undefined || Number(digits) > largestNumber ? undefined : Number(digits)
}

export function runId(run: Run): RunId {
  const { job, restart } = run
  const isWhole = Number.isInteger(job) && Number.isInteger(restart)
  const origin = originOf(run)
  const fine =
    origin.kind === 'job'
      ? isWhole && job > 0 && restart >= 0 && restart <= 0xffff
      : isWhole && origin.batch > 0 && job <= largestRunNumber && restart === 0
  if (!fine) throw new VmrmError('request-invalid', `not a run: job ${job}, restart ${restart}`)
  return `${origin.kind === 'job' ? 'j' : ''}${originName(run)}r${restart}` as RunId
}

/** The run a name stands for, or undefined if the name is not one of a run's. */
export function parseRunId(text: string): Run | undefined {
  const [, kind, digits, restart] = /^([jb])([1-9]\d{0,9})r(0|[1-9]\d{0,4})$/.exec(text) ?? []
  const number = Number(digits)
  if (kind === undefined || number > largestNumber) return undefined
  if (kind === 'b') return restart === '0' ? batchRun(number) : undefined
  return { job: number, restart: Number(restart) }
}

/** `j123r0v4`: the domain name of the VM with that index; the index counts over the whole run. */
export function vmName(run: Run, index: number): string {
  return `${runId(run)}v${index}`
}

/** The run and index a domain name stands for, or undefined if vmrm did not make the name. */
export function parseVmName(name: string): { run: Run; index: number } | undefined {
  const match = /^([jb]\d+r\d+)v(0|[1-9]\d{0,6})$/.exec(name)
  const run = match?.[1] === undefined ? undefined : parseRunId(match[1])
  return run === undefined ? undefined : { run, index: Number(match?.[2]) }
}
