// A host: a set of namespaces whose pid 1 is a reaping init. It owns making, finding, entering and ending them.
// Hosts are found by a mark in their init's environment, never by a remembered pid alone, so nothing foreign is killed.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { hierarchies, makeHostGroups, removeGroups } from './cgroups.ts'
import { cleanEnvironment } from './environment.ts'
import { makeHostFolders, writeInitScript } from './host-root.ts'
import type { Host, Layout } from './layout.ts'
import { logTail } from './log-tail.ts'
import {
  allPids,
  commandLineOf,
  environmentOf,
  identify,
  isAlive,
  membersOfPidNamespace,
  namespaceOf,
  namespacePids,
  type ProcessIdentity,
  signalProcess,
} from './procfs.ts'
import { waitFor } from './wait.ts'

const markName = 'VMRM_CLUSTER_HOST'

export interface RunningHost {
  readonly name: string
  readonly init: ProcessIdentity
}

interface MarkedProcess extends RunningHost {
  readonly kind: 'init' | 'launcher'
}

/** Processes with this cluster's mark: hosts' inits, and the `unshare` processes that wait for them. */
function markedProcesses(layout: Layout): MarkedProcess[] {
  const mark = `${markName}=${layout.folder}:`
  const found: MarkedProcess[] = []
  for (const pid of allPids()) {
    const value = environmentOf(pid).find((each) => each.startsWith(mark))
    const init = value === undefined ? undefined : identify(pid)
    if (value === undefined || init === undefined) continue
    const pids = namespacePids(pid)
    const kind = pids.length > 1 && pids.at(-1) === 1 ? 'init' : 'launcher'
    found.push({ name: value.slice(mark.length), init, kind })
  }
  return found
}

const hasBooted = (host: RunningHost): boolean => commandLineOf(host.init.pid)[0] === '/usr/bin/tini'

/** Hosts that have booted, by name. */
export function runningHosts(layout: Layout): Map<string, RunningHost> {
  const inits = markedProcesses(layout).filter((each) => each.kind === 'init' && hasBooted(each))
  return new Map(inits.map((each) => [each.name, each]))
}

/** Boots a host that does not run; its /run and /tmp are empty then, as after a power loss. Bounded to 10 s. */
export async function startHost(layout: Layout, host: Host): Promise<RunningHost> {
  for (const folder of ['run', 'tmp', 'daemons']) rmSync(join(host.folder, folder), { recursive: true, force: true })
  makeHostFolders(layout, host)
  const groups = makeHostGroups(layout, host)
  const script = writeInitScript({ layout, host, hierarchies: hierarchies() })
  mkdirSync(host.log, { recursive: true })
  const logPath = join(host.log, 'init.log')
  const log = openSync(logPath, 'a')
  const join_ = 'for group; do echo $$ >"$group/cgroup.procs" || true; done; exec '
  const unshare =
    '/usr/bin/unshare --net --mount --uts --ipc --pid --cgroup --fork --propagation private /bin/bash "$SCRIPT"'
  const child = spawn('/bin/sh', ['-c', `${join_}${unshare}`, 'sh', ...groups], {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
    env: { ...cleanEnvironment, SCRIPT: script, [markName]: `${layout.folder}:${host.name}` },
  })
  child.unref()
  closeSync(log)
  let found: RunningHost | undefined
  await waitFor(
    () => {
      found = runningHosts(layout).get(host.name)
      return found !== undefined || child.exitCode !== null
    },
    { timeoutMs: 10_000 },
  )
  if (found === undefined) throw new Error(`host ${host.name} did not boot:\n${logTail(logPath)}`)
  return found
}

/** Ends a host at once, as a power loss does; returns when no process of it is left (bounded to 10 s). */
export async function killHost(layout: Layout, name: string): Promise<void> {
  const marked = markedProcesses(layout).filter((each) => each.name === name)
  const spaces = marked.map((each) => (each.kind === 'init' ? namespaceOf(each.init.pid, 'pid') : undefined))
  // A launcher ends by itself, having reaped its init; one without an init has not got as far.
  const inits = marked.filter((each) => each.kind === 'init')
  for (const each of inits.length > 0 ? inits : marked) signalProcess(each.init, 'SIGKILL')
  const ended = await waitFor(
    () =>
      !marked.some((each) => isAlive(each.init)) &&
      spaces.every((space) => space === undefined || membersOfPidNamespace(space).length === 0),
    { timeoutMs: 10_000 },
  )
  if (!ended) throw new Error(`host ${name} still has processes 10 s after its init was killed`)
  await removeGroups(layout, name)
}

/** Names of hosts of which anything runs, also of one that did not finish booting. */
export function hostsWithProcesses(layout: Layout): string[] {
  return [...new Set(markedProcesses(layout).map((each) => each.name))]
}

const joinGroups =
  'for p in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do echo $$ >"$p"; done 2>/dev/null'

/** argv that runs `argv` inside the host, as root, in the host's cgroups, in `/`; the environment is passed on. */
export function enter(host: RunningHost, argv: readonly string[]): string[] {
  const pid = String(host.init.pid)
  const nsenter = ['/usr/bin/nsenter', '-t', pid, '-m', '-u', '-i', '-n', '-p', '-C', '--']
  return [...nsenter, '/bin/sh', '-c', `${joinGroups}; exec "$@"`, 'sh', ...argv]
}
