// The real test cluster as tests see it: typed calls, bounded, and the leak ledger after each test.
// It brings the cluster up where it is down, and never takes down one that it found up.
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Test } from 'tap'
import type { DaemonName } from '../cluster/daemons.ts'
import { type Host, hostNamed, type Layout } from '../cluster/layout.ts'
import { type RunningHost, runningHosts } from '../cluster/namespaces.ts'
import { runArgv } from '../cluster/run.ts'
import { clusterFolder, currentLayout, readSettings } from '../cluster/state.ts'
import { waitFor } from '../cluster/wait.ts'
import { lockExclusively } from './exclusive.ts'
import { compareLedgers, type Ledger, takeLedger } from './leaks.ts'

const script = join(import.meta.dirname, '../cluster/cluster')

export interface Finished {
  /** null where a signal ended it. */
  readonly exitCode: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly outcome: 'ended' | 'timed-out'
}

export interface RunOptions {
  /** Default root. */
  readonly user?: string
  /** Default ctl. */
  readonly node?: string
  readonly input?: string | Uint8Array
  /** Default 60,000; the command is killed then. */
  readonly timeoutMs?: number
}

export interface BatchResult extends Finished {
  readonly jobId: number
  /** The job's own output file. */
  readonly output: string
}

export interface Cluster {
  readonly layout: Layout
  readonly nodes: readonly string[]
  /** Runs a command in a host, as after a login. Never throws for how the command ends. */
  run(argv: readonly string[], options?: RunOptions): Promise<Finished>
  /** Like `run`, but the caller handles the process and its streams, and must end it. */
  start(argv: readonly string[], options?: Pick<RunOptions, 'user' | 'node'>): ChildProcess
  /** Submits a script with `sbatch --wait` and reads the job's output; exitCode is the job's. */
  sbatchWait(text: string, options?: RunOptions & { arguments?: readonly string[] }): Promise<BatchResult>
  daemon(action: 'start' | 'stop' | 'restart', node: string, name: DaemonName): Promise<void>
  /** Ends a node as a power loss does. `up` boots it again. */
  crash(node: string): Promise<void>
  up(): Promise<void>
  /** Throws where not every node is idle within the time (default 30 s): nothing runs, nothing is drained. */
  waitUntilIdle(timeoutMs?: number): Promise<void>
}

/** Runs test/cluster/cluster; throws with its words where it fails. */
export async function clusterCommand(argv: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<string> {
  const result = await execa(script, argv, { env: environment, timeout: 120_000, reject: false, input: '' })
  if (result.exitCode !== 0) throw new Error(`cluster ${argv.join(' ')}: ${result.stderr}${result.stdout}`)
  return result.stderr
}

function find(layout: Layout, name: string): { host: Host; running: RunningHost } {
  const host = hostNamed(layout, name)
  const running = runningHosts(layout).get(name)
  if (running === undefined) throw new Error(`host ${name} does not run`)
  return { host, running }
}

async function run(layout: Layout, argv: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { running } = find(layout, options.node ?? 'ctl')
  const [file = '', ...rest] = runArgv(running, options.user ?? 'root', argv)
  const result = await execa(file, rest, {
    reject: false,
    input: options.input ?? '',
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
    maxBuffer: 256_000_000,
    stripFinalNewline: false,
    cwd: '/',
  })
  return {
    exitCode: result.exitCode ?? null,
    signal: result.signal ?? null,
    stdout: result.stdout,
    stderr: result.stderr,
    outcome: result.timedOut ? 'timed-out' : 'ended',
  }
}

async function sbatchWait(
  layout: Layout,
  text: string,
  options: RunOptions & { arguments?: readonly string[] } = {},
): Promise<BatchResult> {
  const file = `/home/${options.user ?? 'alice'}/sbatch-%j.out`
  const argv = ['sbatch', '--wait', '--parsable', `--output=${file}`, ...(options.arguments ?? [])]
  const finished = await run(layout, argv, { user: 'alice', ...options, input: text })
  const jobId = Number(finished.stdout.trim().split(';')[0])
  const path = file.replace('%j', String(jobId))
  const shown = jobId > 0 ? await run(layout, ['cat', path]) : undefined
  return { ...finished, jobId, output: shown?.stdout ?? '' }
}

async function waitUntilIdle(layout: Layout, timeoutMs = 30_000): Promise<void> {
  let shown = ''
  const isIdle = async (): Promise<boolean> => {
    shown = (await run(layout, ['sinfo', '--noheader', '--Node', '--partition=main', '--format=%N %T'])).stdout
    const states = shown.trim().split('\n')
    return states.every((line) => line.endsWith(' idle')) && states.length === layout.hosts.length - 1
  }
  if (!(await waitFor(isIdle, { timeoutMs, intervalMs: 100 }))) throw new Error(`nodes are not idle:\n${shown}`)
}

/** The cluster in this folder, by default the one that VMRM_CLUSTER_DIR names; it must be up. */
export function openCluster(folder: string = clusterFolder()): Cluster {
  const settings = readSettings(folder)
  if (settings === undefined) throw new Error('the cluster is down: test/cluster/cluster up')
  const layout = currentLayout(settings, folder)
  return {
    layout,
    nodes: layout.hosts.filter((host) => host.role === 'node').map((host) => host.name),
    run: (argv, options) => run(layout, argv, options),
    start: (argv, options = {}) => {
      const { running } = find(layout, options.node ?? 'ctl')
      const [file = '', ...rest] = runArgv(running, options.user ?? 'root', argv)
      return spawn(file, rest, { cwd: '/' })
    },
    sbatchWait: (text, options) => sbatchWait(layout, text, options),
    daemon: async (action, node, name) => void (await clusterCommand(['daemon', action, '--node', node, name])),
    crash: async (node) => void (await clusterCommand(['crash', '--node', node])),
    up: async () => void (await clusterCommand(['up'])),
    waitUntilIdle: (timeoutMs) => waitUntilIdle(layout, timeoutMs),
  }
}

/**
 * Runs `work` on the cluster, up and idle, with no other test at the same time. Afterwards everything must be as it was before, within 60 s: the test fails
 * with what is left, whether `work` failed or not. `options` are those of `cluster up`; one that is up in another shape is refused.
 */
export async function withCluster(
  t: Test,
  work: (cluster: Cluster) => Promise<void>,
  options: readonly string[] = [],
): Promise<void> {
  await clusterCommand(['up', ...options])
  const cluster = openCluster()
  const release = await lockExclusively(join(cluster.layout.folder, 'lock-of-tests'), 600_000)
  try {
    await cluster.waitUntilIdle()
    const before = await takeLedger(cluster.layout)
    try {
      await work(cluster)
    } finally {
      t.same(await leftovers(cluster.layout, before), [], 'nothing is left')
    }
  } finally {
    await release()
  }
}

/** Differences to an earlier ledger that do not go away within `timeoutMs`. */
export async function leftovers(layout: Layout, before: Ledger, timeoutMs = 60_000): Promise<string[]> {
  let differences: string[] = []
  await waitFor(
    async () => {
      differences = compareLedgers(before, await takeLedger(layout))
      return differences.length === 0
    },
    { timeoutMs, intervalMs: 200 },
  )
  return differences
}
