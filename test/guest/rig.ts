// A whole way of a task without Slurm and QEMU: real vmrm-run, real relay, real agent; the bridge stands in for the port. It ends all it started.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import type { GuestIdentity } from '../../lib/guest/channel/identity.ts'
import type { Admission, AttachRequest, CallAdmission, CallRequest } from '../../lib/guest/relay/admission.ts'
import { TaskServer } from '../../lib/guest/relay/task-server.ts'
import { type Log, silentLog } from '../../lib/log.ts'
import { CagedAgent } from './caged-agent.ts'
import { PortBridge } from './port-bridge.ts'

export const root = join(import.meta.dirname, '../..')

/** Builds a C program with its make; the answer is its path. */
export function buildC(program: 'vmrm-run' | 'vmrm-agent', kind: 'plain' | 'sanitized'): string {
  const folder = program === 'vmrm-run' ? 'hooks/run' : 'lib/guest'
  const flags = kind === 'sanitized' ? ['SANITIZE=1'] : []
  execFileSync('make', ['-s', '-C', join(root, folder), ...flags], { timeout: 180_000 })
  return join(root, kind === 'sanitized' ? 'build/c-asan' : 'build/c', program)
}

export interface RunOptions {
  readonly argv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Variables that shall not be there. */
  readonly without?: readonly string[]
  readonly options?: readonly string[]
  readonly stdin?: 'ignore' | 'pipe'
  readonly uid?: number
  readonly cwd?: string
}

/** One vmrm-run and what it said. */
export class Run {
  readonly child: ChildProcess
  readonly digest = createHash('sha256')
  stdoutBytes = 0
  stdout = ''
  stderr = ''
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>

  constructor(child: ChildProcess) {
    this.child = child
    this.ended = once(child, 'close').then(([code, signal]) => ({ code, signal }))
    const stdout = child.stdout as Readable
    stdout.on('data', (chunk: Buffer) => {
      this.stdoutBytes += chunk.length
      this.digest.update(chunk)
      if (this.stdout.length < 1 << 20) this.stdout += chunk.toString('latin1')
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
  }
}

export const guestIdentity = (user: 'root' | 'nobody'): GuestIdentity => ({
  run: 'j7r0',
  hostname: 'vm0',
  node: 'n1',
  nics: [],
  hosts: { addresses: '127.0.0.1', hostnames: 'vm0', nodes: 'n1', vms: '1' },
  user:
    user === 'root'
      ? { name: 'root', uid: 0, gid: 0, home: '/root', shell: '/bin/sh', gecos: '' }
      : { name: 'nobody', uid: 65534, gid: 65534, home: '/nonexistent', shell: '/bin/sh', gecos: '' },
  groups: [],
  mounts: [],
  commands: [],
  timeNs: BigInt(Date.now()) * 1_000_000n,
  entropy: randomBytes(32),
})

export interface RigOptions {
  readonly agent: string
  readonly run: string
  readonly user?: 'root' | 'nobody'
  readonly log?: Log
  readonly orphanGraceMs?: number
  /** What runs when a guest calls a command; absent: nothing does. */
  readonly admitCall?: (request: CallRequest) => CallAdmission
  readonly admit?: (request: AttachRequest, signal: AbortSignal) => Promise<Admission | undefined>
}

export class Rig {
  readonly bridge: PortBridge
  readonly agent: CagedAgent
  readonly options: RigOptions
  channel: GuestChannel
  server: TaskServer
  readonly runs: Run[] = []
  readonly requests: AttachRequest[] = []

  private constructor(options: RigOptions) {
    this.options = options
    this.agent = new CagedAgent(options.agent)
    this.bridge = new PortBridge(join(this.agent.folder, 'host'))
    this.channel = this.#newChannel()
    this.server = this.#newServer()
  }

  static async start(options: RigOptions): Promise<Rig> {
    const rig = new Rig(options)
    try {
      await rig.bridge.listen(rig.agent.portPath)
      await rig.channel.open(AbortSignal.timeout(20_000))
      await rig.channel.identify(guestIdentity(options.user ?? 'root'), AbortSignal.timeout(20_000))
      await rig.server.listen()
      return rig
    } catch (error) {
      await rig.stop()
      throw new Error(`the rig did not start; the agent said: ${rig.agent.stderr}`, { cause: error })
    }
  }

  get taskSocket(): string {
    return join(this.agent.folder, 'task.sock')
  }

  #newChannel(): GuestChannel {
    return new GuestChannel({ path: this.bridge.hostPath, vm: 'j7r0v0', log: this.options.log ?? silentLog })
  }

  #newServer(): TaskServer {
    return new TaskServer({
      path: this.taskSocket,
      log: this.options.log ?? silentLog,
      ...(this.options.orphanGraceMs !== undefined && { orphanGraceMs: this.options.orphanGraceMs }),
      // Node has no way to ask the kernel; the daemon's own port is tested with it.
      peerCredentials: () => ({ uid: 0, gid: 0, pid: 0 }),
      admit: async (request, signal) => {
        this.requests.push(request)
        const own = await this.options.admit?.(request, signal)
        return own ?? { outcome: 'attached', vm: 'j7r0v0', hostname: 'vm0', channel: this.channel, calls: 'allowed' }
      },
      admitCall: async (request) =>
        this.options.admitCall?.(request) ?? { outcome: 'refused', text: 'vmrm: no calls here\n', exitCode: 1 },
    })
  }

  /** Ends the relay the way `kill -9` ends a vmrmd, and starts a new one. */
  async restartDaemon(): Promise<void> {
    await this.stopDaemon()
    await this.startDaemon()
  }

  async stopDaemon(): Promise<void> {
    this.bridge.cutHost()
    this.channel.close()
    await this.server.close()
  }

  async startDaemon(): Promise<void> {
    this.channel = this.#newChannel()
    this.server = this.#newServer()
    this.server.attachChannel(this.channel)
    await this.channel.open(AbortSignal.timeout(20_000))
    await this.server.listen()
  }

  run(options: RunOptions): Run {
    const args = ['--socket', this.taskSocket, ...(options.options ?? []), '--', ...options.argv]
    const env: Record<string, string> = {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      SLURM_JOB_ID: '7',
      SLURM_STEP_ID: '0',
      SLURM_LOCALID: '0',
      SLURM_STEP_TASKS_PER_NODE: '1',
      ...options.env,
    }
    for (const name of options.without ?? []) delete env[name]
    const child = spawn(this.options.run, args, {
      env,
      cwd: options.cwd ?? '/tmp',
      detached: true,
      stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'],
      ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }),
    })
    const run = new Run(child)
    this.runs.push(run)
    return run
  }

  async stop(): Promise<void> {
    for (const { child } of this.runs) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    this.channel.close()
    await this.server.close()
    this.bridge.close()
    await this.agent.stop()
  }
}
