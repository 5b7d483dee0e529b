// What of a cluster can be seen from the machine itself: for the tests that nothing of it is left.
import { readdirSync, readFileSync } from 'node:fs'
import { existingGroups } from './cgroups.ts'
import { attempt } from './exec.ts'
import type { Layout } from './layout.ts'
import { allPids, commandLineOf, environmentOf, identify, namespaceOf } from './procfs.ts'

/** Processes that were started for this cluster: its folder is in their command line, environment or name of their log. */
function processesOf(layout: Layout): string[] {
  return allPids()
    .filter((pid) => pid !== process.pid && identify(pid) !== undefined)
    .filter((pid) => [...commandLineOf(pid), ...environmentOf(pid)].some((text) => text.includes(`${layout.folder}:`)))
    .map((pid) => `${pid} ${commandLineOf(pid).join(' ')}`)
}

export interface MachineState {
  readonly processes: readonly string[]
  readonly pidNamespaces: readonly string[]
  readonly networkDevices: readonly string[]
  readonly mounts: readonly string[]
  readonly cgroups: readonly string[]
  readonly files: readonly string[]
}

/** `spaces`: pid namespaces of the cluster's hosts when it was up; those that still have a process are listed. */
export async function machineState(layout: Layout, spaces: readonly string[] = []): Promise<MachineState> {
  const live = new Set(allPids().map((pid) => (identify(pid) === undefined ? undefined : namespaceOf(pid, 'pid'))))
  const links = (await attempt(['/usr/sbin/ip', '-brief', 'link'])).stdout.trim().split('\n')
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return {
    processes: processesOf(layout),
    pidNamespaces: spaces.filter((space) => live.has(space)),
    networkDevices: links.map((line) => line.split(/[\s@]/)[0] ?? '').sort(),
    mounts: mounts.filter((line) => line.includes(layout.folder)),
    cgroups: existingGroups(layout),
    files: readdirSync(layout.folder).filter(
      (name) => !['lock', 'lock-of-tests', 'log', 'compile-cache'].includes(name),
    ),
  }
}
