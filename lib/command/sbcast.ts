// `vmrm sbcast`: a file into every VM of a job, by one step of a task for each VM that takes it in. What a guest's sbcast runs.
import { createReadStream } from 'node:fs'
import { access, constants, stat } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { loadDaemonConfig } from '../config/load.ts'
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import { findJob } from '../slurm/find-job.ts'
import type { Command } from './command.ts'
import { withController } from './controller.ts'
import { failedExit, readSbcast, SbcastFailure, type SbcastRequest, sbcastUsage } from './sbcast/options.ts'
import { type Reception, readReports, receiverCommand, trailerOf } from './sbcast/receiver.ts'
import { ownEnvironment } from './step.ts'

const maxReportBytes = 16 << 20
const needsJob = 'Need a job id to run this command.  Run from within a Slurm job or use the --jobid option.'

const unknownJob = (name: string): SbcastFailure =>
  new SbcastFailure(failedExit, `sbcast: error: Slurm job ${name} lookup error: Invalid job id specified`)

export const sbcast: Command = {
  summary: "copy a file into every VM of a job, as Slurm's sbcast copies it onto nodes",
  usage: sbcastUsage,
  help: `Copies SOURCE to DEST in every VM of the job, with its mode; whole or not at all in each.
  -f, --force         replace a DEST that is there
  -p, --preserve      keep the times too
  -j, --jobid=JOB     another job; JOB.STEP: the VMs of that step's nodes
  -v, --verbose       say what is done
  -C, -F, -s, -t, --exclude, --send-libs=no   accepted as Slurm's sbcast does, and without effect
In a VM it is called sbcast. A DEST that is not absolute lies in the folder where this is called.`,
  async run(args) {
    // That tells of Slurm, not of a job.
    if (args.some((each) => ['-V', '--version', '--usage'].includes(each))) return slurmsOwn(args)
    try {
      return await broadcast(readSbcast(args))
    } catch (error) {
      if (!(error instanceof SbcastFailure)) throw error
      process.stderr.write(`${error.lines.join('\n')}\n`)
      return error.exitCode
    }
  },
}

async function broadcast(request: SbcastRequest): Promise<number> {
  const complain = (text: string) => process.stderr.write(`sbcast: error: ${text}\n`)
  if (request.libraries === 'asked-for') {
    complain("this node's libraries are not the image's; still sending the file but ignoring send_libs")
  }
  const source = await openSource(request)
  const target = await targetOf(request)
  const output = await send(source.bytes, target, {
    destination: absolute(request.destination),
    mode: source.mode,
    whenThere: request.whenThere,
    ...(request.times === 'preserved' ? { times: source.times } : {}),
  })
  const { done, failures, exitCode } = readReports(output)
  for (const failure of failures) complain(failure)
  if (done < target.vms && failures.length === 0) complain(`${target.vms - done} of ${target.vms} VMs took no file`)
  if (request.isVerbose) process.stderr.write(`sbcast: ${request.source} is in ${done} of ${target.vms} VMs\n`)
  return done === target.vms ? 0 : exitCode || 1
}

async function slurmsOwn(args: readonly string[]): Promise<number> {
  const { slurm } = loadDaemonConfig()
  const { execa } = await import('execa')
  const shown = await execa(`${slurm.commands}/sbcast`, args, { stdio: 'inherit', reject: false })
  return shown.exitCode ?? 1
}

interface Source {
  readonly bytes: Readable
  readonly mode: number
  readonly times: NonNullable<Reception['times']>
}

async function openSource({ source, relayed }: SbcastRequest): Promise<Source> {
  if (relayed !== undefined) {
    return { bytes: process.stdin, mode: relayed.mode, times: { atime: relayed.atime, mtime: relayed.mtime } }
  }
  try {
    const status = await stat(source)
    if (!status.isFile())
      throw new SbcastFailure(failedExit, `sbcast: error: Can't mmap file \`${source}\`, No such device.`)
    await access(source, constants.R_OK)
    const seconds = (ms: number) => String(Math.floor(ms / 1000))
    const times = { atime: seconds(status.atimeMs), mtime: seconds(status.mtimeMs) }
    return { bytes: createReadStream(source), mode: status.mode, times }
  } catch (cause) {
    if (cause instanceof SbcastFailure) throw cause
    // `ENOENT: no such file or directory, stat '…'`
    const [, first = '', rest = ''] = /^[A-Z0-9]+: (.)([^,]*)/.exec((cause as Error).message) ?? []
    const why = `${first.toUpperCase()}${rest}`
    throw new SbcastFailure(failedExit, `sbcast: error: Can't open \`${source}\`: ${why}`)
  }
}

/** The server of a call may be in another folder than its caller, and says which that was. */
function absolute(path: string): string {
  return isAbsolute(path) ? path : join(process.env.VMRM_GUEST_CWD ?? process.cwd(), path)
}

interface Target {
  readonly srun: string
  readonly slurmConfig: string
  readonly job: number
  readonly nodes: readonly string[]
  readonly vmsPerNode: number
  readonly vms: number
}

async function targetOf(request: SbcastRequest): Promise<Target> {
  const { slurm } = loadDaemonConfig()
  const [name = '', step] = (request.job ?? process.env.SLURM_JOB_ID ?? '').split('.')
  if (name === '') throw new SbcastFailure(1, needsJob)
  const job = await findJob(name, slurm).catch((error: unknown) => {
    throw toVmrmError(error).code === 'job-unknown' ? unknownJob(name) : error
  })
  const { runs } = await withController((controller) => controller.call('list-runs', { all: false, job: job.id }))
  const run = runs.filter(({ state }) => state === 'committed').at(-1)
  if (run === undefined) throw new VmrmError('job-without-vms', `job ${job.name} has no VMs that are ready`)
  const wanted = step === undefined ? undefined : await nodesOfStep(`${job.id}.${step}`, slurm)
  const vms = run.vms.filter((vm) => wanted?.has(vm.node) ?? true)
  const nodes = [...new Set(vms.map((vm) => vm.node))]
  return {
    ...{ srun: `${slurm.commands}/srun`, slurmConfig: slurm.config, job: job.id, nodes },
    ...{ vmsPerNode: vms.length / nodes.length, vms: vms.length },
  }
}

async function nodesOfStep(step: string, slurm: { commands: string; config: string }): Promise<ReadonlySet<string>> {
  const { execa } = await import('execa')
  const env = { PATH: '/usr/bin:/bin', SLURM_CONF: slurm.config }
  const common = { env, extendEnv: false, cwd: '/', stdin: 'ignore', timeout: 30_000, reject: false } as const
  const listed = await execa(`${slurm.commands}/squeue`, ['--noheader', '--steps', step, '--format=%N'], common)
  const list = listed.stdout.trim()
  if (listed.failed || list === '') throw unknownJob(step)
  const names = await execa(`${slurm.commands}/scontrol`, ['show', 'hostnames', list], common)
  return new Set(names.stdout.split('\n').filter((name) => name !== ''))
}

/** What the receivers said. srun gives its stdin to every task. */
async function send(bytes: Readable, target: Target, reception: Reception): Promise<string> {
  const { execa } = await import('execa')
  const nodes = [`--nodes=${target.nodes.length}`, `--nodelist=${target.nodes.join(',')}`]
  const tasks = [`--ntasks=${target.vms}`, `--ntasks-per-node=${target.vmsPerNode}`]
  // The folder is there in every VM, and on every node.
  const plain = ['--overlap', '--mpi=none', '--unbuffered', '--kill-on-bad-exit=0', '--chdir=/']
  const argv = [`--jobid=${target.job}`, ...nodes, ...tasks, ...plain, '--', ...receiverCommand(reception)]
  const srun = execa(target.srun, argv, {
    env: { ...ownEnvironment(process.env), SLURM_CONF: target.slurmConfig, SLURM_JOB_ID: String(target.job) },
    extendEnv: false,
    stdin: 'pipe',
    stderr: 'inherit',
    maxBuffer: maxReportBytes,
    reject: false,
  })
  let sent = 0
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sent += chunk.length
      done(null, chunk)
    },
    flush(done) {
      this.push(trailerOf(sent))
      done()
    },
  })
  // An srun that ends early says why itself.
  await pipeline(bytes, counted, srun.stdin).catch(() => srun.stdin.destroy())
  return (await srun).stdout
}
