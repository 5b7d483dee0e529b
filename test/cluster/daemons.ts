// Starting, checking and stopping one daemon of one host. What the daemons are is said in munge.ts, slurm.ts and so on.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { cleanEnvironment } from './environment.ts'
import { command } from './exec.ts'
import type { Host } from './layout.ts'
import { logTail } from './log-tail.ts'
import { enter, type RunningHost } from './namespaces.ts'
import {
  identify,
  isAlive,
  membersOfPidNamespace,
  namespaceOf,
  namespacePids,
  type ProcessIdentity,
  signalProcess,
} from './procfs.ts'
import { waitFor } from './wait.ts'

export type DaemonName = 'munged' | 'mariadbd' | 'slurmdbd' | 'slurmctld' | 'slurmd' | 'libvirtd' | 'ganesha' | 'vmrmd'

/** A host of the layout together with its running namespaces. */
export interface LiveHost {
  readonly host: Host
  readonly running: RunningHost
}

export interface DaemonSpec {
  readonly name: DaemonName
  /** Runs in the foreground, as root, in the host. */
  readonly argv: readonly string[]
  /** What must be done in the host before each start. */
  readonly prepare?: (live: LiveHost) => Promise<void>
  /** Whether it answers; asked until it does. */
  readonly isReady: (live: LiveHost, daemon: ProcessIdentity) => boolean | Promise<boolean>
  readonly readyTimeoutMs: number
}

const recordPath = (host: Host, name: DaemonName): string => join(host.folder, 'daemons', `${name}.json`)
export const logPath = (host: Host, name: DaemonName): string => join(host.log, `${name}.log`)

/** undefined where it does not run; never another process that has its old pid. */
export function findDaemon(host: Host, name: DaemonName): ProcessIdentity | undefined {
  try {
    const record = JSON.parse(readFileSync(recordPath(host, name), 'utf8')) as ProcessIdentity
    return isAlive(record) ? record : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** The process as this namespace numbers it, from its pid in the host. */
export function outerProcess(running: RunningHost, innerPid: number): ProcessIdentity | undefined {
  const space = namespaceOf(running.init.pid, 'pid')
  if (space === undefined) return undefined
  const pid = membersOfPidNamespace(space).find((each) => namespacePids(each).at(-1) === innerPid)
  return pid === undefined ? undefined : identify(pid)
}

// setsid takes the place of the shell's child, so $! is the daemon; it becomes a child of the host's init.
const launcher = 'log=$1; shift; setsid "$@" </dev/null >>"$log" 2>&1 & echo $!'

/** Starts it and waits until it answers; throws with the log's last lines where it does not. Harmless where it runs. */
export async function startDaemon(live: LiveHost, spec: DaemonSpec): Promise<void> {
  const { host, running } = live
  const log = logPath(host, spec.name)
  let daemon = findDaemon(host, spec.name)
  if (daemon === undefined) {
    await spec.prepare?.(live)
    const environment = Object.entries(cleanEnvironment).map(([name, value]) => `${name}=${value}`)
    const argv = ['/usr/bin/env', '-i', ...environment, '/bin/sh', '-c', launcher, 'sh', log, ...spec.argv]
    const inner = Number((await command(enter(running, argv))).trim())
    daemon = outerProcess(running, inner)
    if (daemon === undefined) throw new Error(`${spec.name} of ${host.name} ended at once\n${logTail(log)}`)
    mkdirSync(dirname(recordPath(host, spec.name)), { recursive: true })
    writeFileSync(recordPath(host, spec.name), `${JSON.stringify(daemon)}\n`)
  }
  const started = daemon
  let ready = false
  await waitFor(
    async () => {
      ready = await spec.isReady(live, started)
      return ready || !isAlive(started)
    },
    { timeoutMs: spec.readyTimeoutMs },
  )
  if (ready) return
  const what = isAlive(started) ? `does not answer after ${spec.readyTimeoutMs} ms` : 'ended'
  throw new Error(`${spec.name} of ${host.name} ${what}\n${logTail(log)}`)
}

/** SIGTERM, and SIGKILL after 10 s. Harmless where it does not run. */
export async function stopDaemon(host: Host, name: DaemonName): Promise<void> {
  const daemon = findDaemon(host, name)
  if (daemon !== undefined) {
    signalProcess(daemon, 'SIGTERM')
    const ended = await waitFor(() => !isAlive(daemon), { timeoutMs: 10_000 })
    if (!ended) signalProcess(daemon, 'SIGKILL')
    if (!ended && !(await waitFor(() => !isAlive(daemon), { timeoutMs: 5000 })))
      throw new Error(`${name} of ${host.name} does not end`)
  }
  rmSync(recordPath(host, name), { force: true })
}

/** Whether something accepts connections on this unix socket of the host. */
export function acceptsOnSocket(running: RunningHost, path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  // Through /proc, since the cluster's folder may be too long for a socket address.
  const socket = connect(`/proc/${running.init.pid}/root${path}`)
  socket.setTimeout(2000, () => socket.destroy())
  socket.once('connect', () => resolve(true))
  socket.once('error', () => resolve(false))
  socket.once('close', () => resolve(false))
  return promise.finally(() => socket.destroy())
}
