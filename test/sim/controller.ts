// The real controller daemon for a simulation: its own process, ledger on disk, munged, and a stand-in for Slurm's commands.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createClient, type ProtocolClient } from '../../lib/protocol/client.ts'
import { renderEntry } from '../images/catalogue-entry.ts'
import { startMunged } from '../support/munged.ts'
import { until } from '../support/until.ts'
import type { NodeAddress } from './simulated-node.ts'
import { createSlurmStandIn, type SlurmStandIn } from './slurm-stand-in.ts'

export interface SimulatedSite {
  /** vmrmd.xml of the nodes. */
  readonly nodeConfig: string
  readonly nodes: readonly NodeAddress[]
  /** As root on the controller, as Slurm's hooks are. */
  readonly client: ProtocolClient
  readonly slurm: SlurmStandIn
  readonly ledgerPath: string
  /** Of the controller's munged. */
  readonly mungeSocket: string
  readonly log: string
  /** CPU time of vmrmd, of its munged and of the nodes' munged, in ms; memory of vmrmd. */
  usage(): {
    readonly daemonMs: number
    readonly mungedMs: number
    readonly nodesMungedMs: number
    readonly rssMib: number
    readonly peakMib: number
  }
  /** SIGKILL and a new start. */
  restart(): Promise<void>
  stop(): Promise<void>
}

const nodesAtMost = 4096
const ticksPerSecond = 100

/** On the disk of the repository's machine, not in memory: the ledger's syncs are to cost what they cost. */
export async function startSite(options: { nodes: number; lostNodeSeconds?: number }): Promise<SimulatedSite> {
  if (options.nodes > nodesAtMost) throw new RangeError(`at most ${nodesAtMost} nodes`)
  const folder = mkdtempSync('/var/tmp/vmrm-sim-')
  // Other simulations at the same time have addresses of their own; all of 127/8 is this host.
  const network = `127.${16 + (process.pid % 200)}`
  const key = randomBytes(64)
  const munged = await startMunged({ key })
  // A real node has a munged of its own.
  const nodesMunged = await startMunged({ key })
  const slurm = createSlurmStandIn(join(folder, 'slurm'))
  const write = (name: string, socket: string) => {
    const path = join(folder, name)
    writeFileSync(path, configOf({ folder, network, socket, lostNodeSeconds: options.lostNodeSeconds }))
    return path
  }
  const config = write('controller.xml', munged.socketPath)
  const nodeConfig = write('node.xml', nodesMunged.socketPath)
  mkdirSync(join(folder, 'images.d'))
  writeFileSync(join(folder, 'images.d', 'sim.xml'), simulatedImage())
  const log = join(folder, 'vmrmd.log')
  const runtime = join(folder, 'run')
  mkdirSync(runtime)
  let daemon = await startDaemon({ config, log, folder: runtime })
  const client = createClient({
    connect: { kind: 'local', path: join(runtime, 'controller.sock') },
    unreachable: 'controller-unreachable',
  })
  return {
    ...{ nodeConfig, client, slurm, log, nodes: addresses(network, options.nodes) },
    ledgerPath: join(folder, 'state', 'ledger.sqlite'),
    mungeSocket: munged.socketPath,
    usage: () => ({
      daemonMs: cpuMsOf(daemon.pid ?? 0),
      mungedMs: cpuMsOf(munged.pid),
      nodesMungedMs: cpuMsOf(nodesMunged.pid),
      ...memoryOf(daemon.pid ?? 0),
    }),
    async restart() {
      await end(daemon, 'SIGKILL')
      daemon = await startDaemon({ config, log, folder: runtime })
    },
    async stop() {
      client.close()
      await end(daemon, 'SIGTERM')
      await Promise.all([munged.stop(), nodesMunged.stop()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function addresses(network: string, count: number): readonly NodeAddress[] {
  return Array.from({ length: count }, (_, at) => ({
    name: `s${String(at + 1).padStart(4, '0')}`,
    address: `${network}.${1 + Math.floor(at / 250)}.${1 + (at % 250)}`,
  }))
}

/** Patient: a busy machine plays all nodes, and how long it takes is measured and not decided here. */
function configOf(options: {
  folder: string
  network: string
  socket: string
  lostNodeSeconds: number | undefined
}): string {
  const { folder, network, socket } = options
  return `<?xml version="1.0" encoding="UTF-8"?>
<vmrmd version="1">
  <cluster name="simulated"/>
  <controller host="ctl" address="${network}.0.1" user="root"/>
  <paths images="${folder}/images.d" runtime="${folder}/run" controller-state="${folder}/state"/>
  <slurm commands="${folder}/slurm" config="/dev/null"/>
  <munge socket="${socket}"/>
  <timeouts lost-node-seconds="${options.lostNodeSeconds ?? 20}" prepare-seconds="600" controller-seconds="300"/>
</vmrmd>
`
}

function simulatedImage(): string {
  return renderEntry({
    version: '1',
    name: 'sim',
    revision: '1',
    os: { family: 'linux', agent: 'builtin' },
    master: { path: '/nonexistent', format: 'raw' },
    boot: { kind: 'firmware' },
    hostnames: { range: 'sim-[000001-400000]' },
    network: { kind: 'private', addresses: '10.64.0.0/12' },
    access: { policy: 'all' },
    limits: { maxMemoryMib: 4096, maxCpus: 8, maxPerNode: 64 },
  })
}

async function startDaemon(options: { config: string; log: string; folder: string }): Promise<ChildProcess> {
  const out = openSync(options.log, 'a')
  const from = statSync(options.log).size
  const daemon = spawn(resolve('build/vmrmd'), ['--role', 'controller', '--config', options.config], {
    stdio: ['ignore', out, out],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: '/',
  })
  process.once('exit', () => daemon.kill('SIGKILL'))
  const said = () => readFileSync(options.log, 'utf8').slice(from)
  await until('the controller is ready', () => {
    if (daemon.exitCode !== null) throw new Error(`vmrmd ended:\n${said()}`)
    return said().includes('daemon.ready')
  })
  return daemon
}

async function end(daemon: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return
  const gone = new Promise((settle) => daemon.once('exit', settle))
  daemon.kill(signal)
  await gone
}

/** User and system time. */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond
}

/** What this machine's CPUs have worked in all, in ms. */
export function machineMs(): number {
  const [, user, nice, system, , , irq, softirq] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '')
    .split(/\s+/)
    .map(Number)
  return (((user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0)) * 1000) / ticksPerSecond
}

function memoryOf(pid: number): { rssMib: number; peakMib: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024
  return { rssMib: mib('VmRSS'), peakMib: mib('VmHWM') }
}
