// Batch jobs that a test submits and looks at while they run, and afterwards.
import type { Cluster, Finished, RunOptions } from './cluster.ts'
import { until } from './until.ts'

/** A job that is over, as its user and an administrator find it. */
export interface EndedJob {
  readonly id: number
  readonly state: string
  /** `0:9` as Slurm shows it. */
  readonly exitCode: string
  readonly reason: string
  readonly adminComment: string
  readonly restarts: number
  readonly nodes: string
  /** Its own output file. */
  readonly output: string
}

export interface Submission extends RunOptions {
  readonly arguments?: readonly string[]
}

const outputOf = (user: string, id: number | string) => `/home/${user}/job-${id}.out`

/** Submits; what is returned is sbatch's own end. */
export function trySubmit(cluster: Cluster, script: string, options: Submission = {}): Promise<Finished> {
  const { arguments: more = [], ...rest } = options
  const user = options.user ?? 'alice'
  const argv = ['sbatch', '--parsable', `--output=${outputOf(user, '%j')}`, '--open-mode=append', ...more]
  return cluster.run(argv, { ...rest, user, input: `#!/bin/sh\n${script}\n` })
}

/** The id of the job that was submitted; throws sbatch's words where it was refused. */
export async function submit(cluster: Cluster, script: string, options: Submission = {}): Promise<number> {
  const finished = await trySubmit(cluster, script, options)
  const id = Number(finished.stdout.trim().split(';')[0])
  if (finished.exitCode !== 0 || !(id > 0)) throw new Error(`sbatch: ${finished.stderr}`)
  return id
}

/** Slurm's fields of a job, of one line `Name=Value Name=Value`; a value may hold blanks. */
export async function jobFields(cluster: Cluster, id: number): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await cluster.run(['scontrol', '--oneliner', 'show', 'job', String(id)])
  const parts = stdout.trim().split(/ (?=[A-Za-z/:]+=)/)
  return new Map(parts.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]))
}

const overStates = ['COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL', 'OUT_OF_MEMORY', 'PREEMPTED']

export async function jobState(cluster: Cluster, id: number): Promise<string> {
  return (await jobFields(cluster, id)).get('JobState') ?? ''
}

export function isOver(state: string): boolean {
  return overStates.includes(state)
}

export async function jobOutput(cluster: Cluster, id: number, user = 'alice'): Promise<string> {
  return (await cluster.run(['cat', outputOf(user, id)])).stdout
}

/** Waits until the job is over; throws after `timeoutMs`. */
export async function ended(
  cluster: Cluster,
  id: number,
  options: { timeoutMs: number; user?: string },
): Promise<EndedJob> {
  const fields = await until(
    `the end of job ${id}`,
    async () => {
      const now = await jobFields(cluster, id)
      return isOver(now.get('JobState') ?? '') ? now : undefined
    },
    options.timeoutMs,
  )
  return {
    id,
    state: fields.get('JobState') ?? '',
    exitCode: fields.get('ExitCode') ?? '',
    reason: fields.get('Reason') ?? '',
    adminComment: fields.get('AdminComment') ?? '',
    restarts: Number(fields.get('Restarts') ?? 0),
    nodes: fields.get('NodeList') ?? '',
    output: await jobOutput(cluster, id, options.user),
  }
}

/** `n1 idle` and so on, with the reason of a node that has one. */
export async function nodeStates(cluster: Cluster): Promise<readonly string[]> {
  const { stdout } = await cluster.run(['sinfo', '--noheader', '--Node', '--partition=main', '--format=%N %T %E'])
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.replace(/ none$/, ''))
}

const restMs = 60_000
const lookEveryMs = 200

/** The same once no node is busy: one may still complete a job that is over for its user. */
export async function nodesAtRest(cluster: Cluster): Promise<readonly string[]> {
  let states: readonly string[] = []
  const isAtRest = async () => {
    states = await nodeStates(cluster)
    return !states.some((line) => / (mixed|allocated|completing)/.test(line))
  }
  // What they are then is the answer.
  await until('nodes at rest', isAtRest, restMs, lookEveryMs).catch(() => {})
  return states
}
