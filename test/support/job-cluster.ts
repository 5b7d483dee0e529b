// Real jobs for tests: a cluster of the test file's own, jobs submitted and awaited by id, and whether a master was written to.
// It never takes down a cluster that VMRM_CLUSTER_DIR names, and reads results from the shared home, not from Slurm.
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Cluster, clusterCommand, type Finished, withCluster } from './cluster.ts'
import { until } from './until.ts'

export interface EndedJob {
  readonly id: number
  /** `JobState`, `ExitCode`, `DerivedExitCode`, `Reason` and whatever else `scontrol show job` says. */
  readonly fields: Readonly<Record<string, string>>
  /** Its output file; stdout and stderr together unless the arguments say otherwise. */
  readonly output: string
}

export interface SubmitOptions {
  /** Options of sbatch, and after `--` nothing: the script comes on stdin. */
  readonly arguments?: readonly string[]
  /** Added to alice's environment at submission. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface Jobs {
  readonly cluster: Cluster
  /** Path on this machine of a file in alice's home. */
  home(name: string): string
  /** Runs a command as alice, with variables added to her environment. */
  alice(
    argv: readonly string[],
    options?: { environment?: Readonly<Record<string, string>>; input?: string | Uint8Array; timeoutMs?: number },
  ): Promise<Finished>
  /** Submits a script as alice; throws with sbatch's words where it is refused. */
  submit(script: string, options?: SubmitOptions): Promise<number>
  output(id: number): string
  /** Waits until the job's output has `text`; throws with the output so far. */
  awaitOutput(id: number, text: string, timeoutMs?: number): Promise<void>
  /** Waits for the job's end. */
  ended(id: number, timeoutMs?: number): Promise<EndedJob>
  /** submit and ended. */
  run(script: string, options?: SubmitOptions): Promise<EndedJob>
}

/** Generous, since boots under a loaded emulator take long; nothing tests a speed. */
const jobEndMs = 180_000
const live = /^(PENDING|CONFIGURING|RUNNING|COMPLETING|SUSPENDED|STOPPED|SIGNALING|REQUEUED)$/

function fieldsOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(?:^|\s)([A-Za-z/:]+)=(\S*)/g)].map(([, name, value]) => [name, value]))
}

/** Jobs of alice on a cluster that is up. */
export function openJobs(cluster: Cluster): Jobs {
  const home = (name: string): string => join(cluster.layout.folder, 'home/alice', name)
  const alice: Jobs['alice'] = (argv, { environment = {}, input, timeoutMs = jobEndMs } = {}) => {
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
    const options = { user: 'alice', timeoutMs, ...(input === undefined ? {} : { input }) }
    return cluster.run(['/usr/bin/env', ...variables, ...argv], options)
  }
  const submit: Jobs['submit'] = async (script, options = {}) => {
    const argv = ['sbatch', '--parsable', '--output=/home/alice/job-%j.out', ...(options.arguments ?? [])]
    const found = await alice(argv, { input: script, environment: options.environment ?? {} })
    if (found.exitCode !== 0) throw new Error(`sbatch ${argv.join(' ')}: ${found.stderr}`)
    return Number(found.stdout.trim().split(';')[0])
  }
  const output = (id: number): string => {
    const path = home(`job-${id}.out`)
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }
  const awaitOutput: Jobs['awaitOutput'] = async (id, text, timeoutMs = jobEndMs) => {
    await until(`${JSON.stringify(text)} in job ${id}'s output`, () => output(id).includes(text), timeoutMs).catch(
      (cause: unknown) => {
        throw new Error(`job ${id} printed only ${JSON.stringify(output(id))}`, { cause })
      },
    )
  }
  const ended: Jobs['ended'] = async (id, timeoutMs = jobEndMs) => {
    const probe = async (): Promise<Record<string, string> | undefined> => {
      const fields = fieldsOf(
        (await cluster.run(['scontrol', '--details', '--oneliner', 'show', 'job', String(id)])).stdout,
      )
      return fields.JobState === undefined || live.test(fields.JobState) ? undefined : fields
    }
    const fields = await until(`the end of job ${id}`, probe, timeoutMs)
    return { id, fields, output: output(id) }
  }
  const run: Jobs['run'] = async (script, options) => ended(await submit(script, options))
  return { cluster, home, alice, submit, output, awaitOutput, ended, run }
}

/**
 * Path of each master of the catalogue, and what would tell a write to it: any changes the time of the inode's last change,
 * which nobody can set. Cheaper than a checksum, as a distribution's master has hundreds of MiB.
 */
export function masterStates(folder: string): Record<string, string> {
  const entries = readdirSync(folder).filter((each) => each.endsWith('.xml'))
  const masters = entries.map((name) => /<master path="([^"]+)"/.exec(readFileSync(join(folder, name), 'utf8'))?.[1])
  const states = masters.map((path = '') => {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    return [path, `inode ${ino}, ${size} bytes, written ${mtimeNs}, changed ${ctimeNs}`] as const
  })
  return Object.fromEntries(states)
}

/**
 * Runs `work` with a cluster that the test file `name` has for itself, or with the one that VMRM_CLUSTER_DIR names. Afterwards nothing may be left (the leak
 * ledger) and no master may have been written to. `options` are those of `cluster up`.
 */
export async function withJobs(
  t: Test,
  name: string,
  work: (jobs: Jobs) => Promise<void>,
  options: readonly string[] = [],
): Promise<void> {
  const isOwn = process.env.VMRM_CLUSTER_DIR === undefined
  process.env.VMRM_CLUSTER_DIR ??= `/var/tmp/vmrm-jobs-${name}`
  try {
    await withCluster(
      t,
      async (cluster) => {
        const before = masterStates(cluster.layout.images)
        await work(openJobs(cluster))
        t.strictSame(masterStates(cluster.layout.images), before, 'no master was written to')
      },
      options,
    )
  } finally {
    if (isOwn) {
      await clusterCommand(['down'])
      // The logs stay for whoever has to find out why.
      if (t.passing()) rmSync(process.env.VMRM_CLUSTER_DIR, { recursive: true, force: true })
    }
  }
}
