// Who can be killed in a cluster, and how each comes back: daemons, hooks and QEMUs of one run. SIGKILL, as a crash is.
import { controlDaemon } from '../cluster/daemon-control.ts'
import { findDaemon, outerProcess } from '../cluster/daemons.ts'
import { controllerName, hostNamed, type Layout } from '../cluster/layout.ts'
import { runningHosts } from '../cluster/namespaces.ts'
import {
  commandLineOf,
  identify,
  isAlive,
  membersOfPidNamespace,
  namespaceOf,
  type ProcessIdentity,
  signalProcess,
} from '../cluster/procfs.ts'
import { readSettings } from '../cluster/state.ts'
import { until } from '../support/until.ts'

/** `client`: whoever runs `vmrm create` on the controller's host. `nobody`: the step is only delayed. */
export type Victim = 'client' | 'node' | 'controller' | 'hook' | 'qemu' | 'libvirtd' | 'nobody'

interface Scene {
  readonly layout: Layout
  /** Where node, QEMU and libvirtd are killed. */
  readonly host: string
  /** A run, a VM of it, or a template: whose QEMUs. */
  readonly subject: string
  /** Of the process that was stopped, as its host counts. */
  readonly pid: number
}

/** Kills; returns what brings the victim back, which is nothing for clients, hooks and QEMUs. */
export async function kill(victim: Victim, scene: Scene): Promise<() => Promise<void>> {
  for (const target of find(victim, scene)) {
    signalProcess(target, 'SIGKILL')
    await until(`the end of ${victim}`, () => !isAlive(target))
  }
  if (victim === 'node') return () => start(scene.layout, scene.host, 'vmrmd')
  if (victim === 'controller') return () => start(scene.layout, controllerName, 'vmrmd')
  if (victim === 'libvirtd') return () => start(scene.layout, scene.host, 'libvirtd')
  return async () => {}
}

function find(victim: Victim, { layout, host, subject, pid }: Scene): readonly ProcessIdentity[] {
  if (victim === 'nobody') return []
  const where = hostNamed(layout, victim === 'controller' || victim === 'client' ? controllerName : host)
  const running = runningHosts(layout).get(where.name)
  if (running === undefined) throw new Error(`host ${where.name} does not run`)
  const processes = (isOne: (words: readonly string[]) => boolean) =>
    membersOfPidNamespace(namespaceOf(running.init.pid, 'pid') ?? '')
      .filter((each) => isOne(commandLineOf(each)))
      .map(identify)
  if (victim === 'qemu') {
    const mine = new RegExp(`^guest=${subject}${/^t|v\d+$/.test(subject) ? '' : 'v\\d+'}(,|$)`)
    const found = processes((words) => words.some((word) => mine.test(word)))
    return some(found, `QEMU of ${subject} on ${host}`).slice(0, 1)
  }
  if (victim === 'client')
    return some(
      processes((words) => words[0]?.endsWith('vmrm') === true && words[1] === 'create'),
      'vmrm create',
    )
  if (victim === 'hook') return some([outerProcess(running, pid)], `the hook with pid ${pid} on ${host}`)
  const daemon = findDaemon(where, victim === 'libvirtd' ? 'libvirtd' : 'vmrmd')
  return some([daemon], `${victim} of ${where.name}`)
}

function some(found: readonly (ProcessIdentity | undefined)[], what: string): ProcessIdentity[] {
  const there = found.filter((each) => each !== undefined)
  if (there.length === 0) throw new Error(`${what} does not run`)
  return there
}

async function start(layout: Layout, hostName: string, name: string): Promise<void> {
  const settings = readSettings(layout.folder)
  if (settings === undefined) throw new Error('the cluster is down')
  await controlDaemon({ layout, settings, hostName, action: 'start', name })
}
