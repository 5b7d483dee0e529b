// Slurm's commands as the controller's daemon uses them: argv arrays, absolute paths, a clean environment, a deadline.
// Only the daemon calls them, never a hook.
import { VmrmError } from '../errors/vmrm-error.ts'
import { commentFormat, hasDecision, parseAdminComment, withCause } from './admin-comment.ts'
import {
  type AllocationOnNode,
  type JobState,
  type NodeState,
  parseJobDetails,
  parseJobStates,
  parseNodeStates,
  parseSqueueJson,
} from './job-details.ts'
import { nameFormat, requeuable, selectorOf } from './one-job.ts'

export interface SlurmCommands {
  /** The job's CPUs and memory on each of these nodes. `selector` is how Slurm names one job alone: `12`, `10_3`, `7+1`. */
  allocation(job: number, selector: string, nodes: readonly string[]): Promise<readonly AllocationOnNode[]>
  /** States of all jobs Slurm still knows. */
  jobStates(): Promise<ReadonlyMap<number, JobState>>
  /** What Slurm says of each node. */
  nodeStates(): Promise<ReadonlyMap<string, NodeState>>
  /** A job's AdminComment, empty if it has none; throws `command-failed` if Slurm does not know the job. */
  adminComment(job: number): Promise<string>
  /** Whether a job that is not over was given an image when it was submitted. */
  hasDecidedJobs(): Promise<boolean>
  /** TaskProlog of slurm.conf, undefined where there is none. */
  taskProlog(): Promise<string | undefined>
  /** Puts a cause into a job's AdminComment, in place of an older one; line breaks become spaces. */
  comment(job: number, text: string): Promise<void>
  /** Of an array that task alone; a heterogeneous job, of which this is a component, goes back as a whole. */
  requeue(job: number): Promise<void>
  /** Puts a job back into the queue and holds it there; `selector` as for `allocation`. Slurm refuses that of a job it may not requeue. */
  requeueHold(selector: string): Promise<void>
  /** Ends such a hold. */
  release(selector: string): Promise<void>
  /** Drains a node; the reason gets `vmrm: ` in front. A drain that somebody else made stays as it is. */
  drain(node: string, reason: string): Promise<'drained' | 'not-ours'>
  /** Resumes a node if and only if the reason of its drain starts with `vmrm: `. */
  resumeOwnDrain(node: string): Promise<'resumed' | 'not-ours'>
}

const deadlineMs = 30_000
const maxOutputBytes = 256 * 1024 * 1024
const maxCommentLength = 1000

export function createSlurmCommands(options: { commandsFolder: string; configFile: string }): SlurmCommands {
  const run = async (command: string, args: readonly string[]): Promise<string> => {
    const { execa } = await import('execa')
    const result = await execa(`${options.commandsFolder}/${command}`, args, {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', SLURM_CONF: options.configFile },
      extendEnv: false,
      cwd: '/',
      stdin: 'ignore',
      timeout: deadlineMs,
      maxBuffer: maxOutputBytes,
      reject: false,
    })
    if (result.failed) {
      const what = `${command} ${args[0] ?? ''} ended with ${result.exitCode ?? result.signal ?? 'no status'}`
      throw new VmrmError('command-failed', what, { quoted: String(result.stderr).slice(-2000), cause: result.cause })
    }
    return result.stdout
  }
  const adminComment = async (job: number): Promise<string> => {
    const argv = ['--all', '--noheader', `--jobs=${job}`, `--Format=${commentFormat}`]
    const comment = parseAdminComment(await run('squeue', argv), job)
    if (comment === undefined) throw new VmrmError('command-failed', `squeue does not know job ${job}`)
    return comment
  }
  const selector = async (job: number): Promise<string> => {
    const found = selectorOf(
      await run('squeue', ['--all', '--noheader', `--jobs=${job}`, `--format=${nameFormat}`]),
      job,
    )
    if (found === undefined) throw new VmrmError('command-failed', `squeue does not know job ${job}`)
    return found
  }
  const drainOf = async (node: string): Promise<'none' | 'ours' | 'others'> => {
    const text = await run('sinfo', ['--noheader', '--nodes', node, '--format=%E|%T'])
    if (!/\|drain/m.test(text)) return 'none'
    return /^vmrm: .*\|drain/m.test(text) ? 'ours' : 'others'
  }
  return {
    async allocation(job, selector, nodes) {
      const details = parseJobDetails(await run('scontrol', ['--details', 'show', 'job', selector]), job, nodes)
      return details ?? parseSqueueJson(await run('squeue', ['--json']), job, nodes)
    },
    async jobStates() {
      return parseJobStates(await run('squeue', ['--all', '--states=all', '--noheader', '--array', '--format=%A %T']))
    },
    async nodeStates() {
      return parseNodeStates(await run('sinfo', ['--all', '--noheader', '--Node', '--format=%N %T']))
    },
    adminComment,
    async hasDecidedJobs() {
      return hasDecision(await run('squeue', ['--all', '--noheader', `--Format=${commentFormat}`]))
    },
    async taskProlog() {
      const [, path = ''] = /^TaskProlog\s*=\s*(\S.*?)\s*$/m.exec(await run('scontrol', ['show', 'config'])) ?? []
      return path.startsWith('/') ? path : undefined
    },
    async comment(job, text) {
      const comment = withCause(await adminComment(job), oneLine(text))
      await run('scontrol', ['update', `JobId=${await selector(job)}`, `AdminComment=${comment}`])
    },
    async requeue(job) {
      await run('scontrol', ['requeue', requeuable(await selector(job))])
    },
    async requeueHold(selector) {
      await run('scontrol', ['requeuehold', selector])
    },
    async release(selector) {
      await run('scontrol', ['release', selector])
    },
    async drain(node, reason) {
      if ((await drainOf(node)) === 'others') return 'not-ours'
      await run('scontrol', ['update', `NodeName=${node}`, 'State=DRAIN', `Reason=vmrm: ${oneLine(reason)}`])
      return 'drained'
    },
    async resumeOwnDrain(node) {
      if ((await drainOf(node)) !== 'ours') return 'not-ours'
      await run('scontrol', ['update', `NodeName=${node}`, 'State=RESUME'])
      return 'resumed'
    },
  }
}

function oneLine(text: string): string {
  return text
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, maxCommentLength)
}
