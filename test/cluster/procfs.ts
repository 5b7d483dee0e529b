// What /proc says about processes. A process is its pid and start time together, so that a reused pid is never signalled.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks after boot, as /proc/PID/stat has it. */
  readonly startTicks: string
}

function readProc(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch {
    return undefined // The process has ended: every caller treats that as an answer.
  }
}

/** undefined where the process has ended; a zombie has ended, with its last thread. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readProc(pid, 'stat')
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, startTicks] = [fields[0], fields[19]]
  if (state === 'X' || startTicks === undefined || (state === 'Z' && !hasOtherThreads(pid))) return undefined
  return { pid, startTicks }
}

/** While others of its threads still die, so do its sockets and locks on files. */
function hasOtherThreads(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false // It has ended meanwhile.
  }
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks
}

/** Does nothing where the process has ended. */
export function signalProcess(target: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(target)) return
  try {
    process.kill(target.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

/** The pid in each namespace it is a member of, outermost first; empty where it has ended. */
export function namespacePids(pid: number): number[] {
  const line = readProc(pid, 'status')
    ?.split('\n')
    .find((each) => each.startsWith('NSpid:'))
  return (line ?? '').split(/\s+/).slice(1).filter(Boolean).map(Number)
}

/** For example `pid:[4026531836]`; undefined where the process has ended. */
export function namespaceOf(pid: number, kind: 'pid' | 'net' | 'mnt'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`)
  } catch {
    return undefined
  }
}

/** Live processes of a pid namespace, namespaces nested in it not counted. */
export function membersOfPidNamespace(namespace: string): number[] {
  return allPids().filter((pid) => namespaceOf(pid, 'pid') === namespace && identify(pid) !== undefined)
}

export function environmentOf(pid: number): string[] {
  return readProc(pid, 'environ')?.split('\0') ?? []
}

export function commandLineOf(pid: number): string[] {
  return readProc(pid, 'cmdline')?.split('\0').slice(0, -1) ?? []
}

export function childrenOf(pid: number): number[] {
  return (readProc(pid, `task/${pid}/children`) ?? '').split(' ').filter(Boolean).map(Number)
}

/** Whether a process in the network namespace of `pid` listens on this TCP port. */
export function listensOnTcp(pid: number, port: number): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const table = `${readProc(pid, 'net/tcp') ?? ''}${readProc(pid, 'net/tcp6') ?? ''}`
  return table.split('\n').some((line) => {
    const fields = line.trim().split(/\s+/)
    return fields[1]?.endsWith(suffix) === true && fields[3] === '0A'
  })
}
