// The steps of a run's creation and removal, by name, where a test can stop a process to kill somebody. In production this
// does nothing: only an environment variable that no hook and no daemon gets from a user or from Slurm makes it look.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** Who takes the step, and what is true once it is reached. In the order of a run's life. */
export const steps = {
  'begin.asked': ['PrologSlurmctld', 'the hook has begun; nobody knows of the run'],
  'batch.recorded': ['controller', 'the ledger has a batch, without a plan; whoever asked has not been told'],
  'begin.recorded': ['controller', 'the ledger has the run, without a plan'],
  'begin.planned': ['controller', 'the plan is made; nothing is leased'],
  'begin.leased': ['controller', 'plan and leases are in the ledger'],
  'batch.telling': ['controller', 'a node of a batch is about to be asked for its VMs, others may have been'],
  'begin.answered': ['PrologSlurmctld', 'the controller has answered; the hook has not ended'],
  'prepare.asked': ['Prolog', 'the hook has begun; the node does not know of the run'],
  'prepare.journaled': ['node', 'the journal says `preparing`; nothing is made'],
  'prepare.shared': ['node', "the journal has the node's share; nothing is made"],
  'prepare.network': ['node', "the run's network and its filters are there"],
  'prepare.export': ['node', "the run's NFS exports are there"],
  'prepare.cgroup': ['node', "the run's cgroup is there"],
  'template.begun': ['node', "the folder, disk and network card of a template's VM are there"],
  'template.created': ['node', "a template's QEMU is there, paused and in a cgroup of its own"],
  'template.booted': ['node', "a template's agent has answered and is ready to be saved"],
  'template.saved': ['node', "a template's state is written and its QEMU is gone; the store does not have it"],
  'template.published': ['node', 'the store has the template'],
  'prepare.templates': ['node', 'the run has its own copies of the templates of its VMs, or they will boot'],
  'start.files': ['node', "a VM's folder, overlay and console are there"],
  'start.created': ['node', "the VM's QEMU is there, paused"],
  'start.confined': ['node', "QEMU is in the run's cgroup, still paused"],
  'start.loaded': ['node', "a clone has its template's state, still paused"],
  'start.resumed': ['node', 'the guest boots, or goes on as a clone'],
  'start.answered': ['node', "the guest's agent has answered"],
  'start.identified': ['node', 'the guest has its identity'],
  'prepare.made': ['node', 'all VMs of the node are ready; the journal still says `preparing`'],
  'prepare.prepared': ['node', 'the journal says `prepared`; the controller has not been told'],
  'prepare.reported': ['node', 'the controller has answered the report; nothing of that is in the journal'],
  'prepare.answered': ['Prolog', 'the node has answered; the hook has not ended'],
  'verdict.recorded': ['controller', 'the last report is in the ledger; nothing is decided'],
  'verdict.decided': ['controller', 'the decision is in the ledger; nobody has been told'],
  'verdict.telling': ['controller', 'one node is about to be told, others may have been'],
  'verdict.received': ['node', 'the node has the decision in memory only'],
  'verdict.journaled': ['node', 'the journal says `committed`'],
  'end.asked': ['EpilogSlurmctld', 'the hook has begun; the controller does not know of the end'],
  'end.recorded': ['controller', 'the ledger says `ending`'],
  'end.answered': ['EpilogSlurmctld', 'the controller has answered; the hook has not ended'],
  'remove.asked': ['Epilog', 'the hook has begun; the VMs still run'],
  'remove.journaled': ['node', 'the journal says `removing`; the VMs still run'],
  'remove.destroyed': ['node', 'the VMs are gone'],
  'remove.cgroup': ['node', 'the cgroup is gone'],
  'remove.parts': ['node', "exports, network and the VMs' files are gone"],
  'remove.checked': ['node', 'no VM is left; the journal is still there'],
  'remove.forgotten': ['node', 'the journal is gone; the controller has not been told'],
  'remove.answered': ['Epilog', 'the node has answered; the hook has not ended'],
  'end.confirmed': ['controller', 'the ledger says that a node has nothing left'],
  'end.finished': ['controller', 'the run is `ended`, its leases are free'],
} as const satisfies Record<string, readonly [who: string, state: string]>

export type StepName = keyof typeof steps

const folder = process.env.VMRM_TEST_STEPS
const pollMs = 5

/** A process takes this step for a run (`j7r0`) or a VM (`j7r0v1`). Resolves when nobody wants it to stop there. */
export async function reached(step: StepName, subject: string): Promise<void> {
  if (folder === undefined) return
  const held = hold(folder, step, subject)
  while (held !== undefined && existsSync(held)) await delay(pollMs)
}

/** The same where there is no room to wait: the whole process stops. */
export function reachedAtOnce(step: StepName, subject: string): void {
  if (folder === undefined) return
  const held = hold(folder, step, subject)
  const never = new Int32Array(new SharedArrayBuffer(4))
  while (held !== undefined && existsSync(held)) Atomics.wait(never, 0, 0, pollMs)
}

/**
 * A file STEP@SUBJECT asks for a stop, once, and STEP@any for that of whoever comes first; with `.held` behind it, and the
 * process id, the subject and the request in it, it is that stop until it is removed. Where the request is `everyone`, who
 * comes to the step meanwhile stops, too.
 */
function hold(where: string, step: StepName, subject: string): string | undefined {
  const names = new Set([subject, subject.replace(/v\d+$/, ''), 'any'])
  const paths = [...names].map((name) => join(where, `${step}@${name}`))
  const held = paths.map((path) => `${path}.held`).find(holdsEveryone)
  if (held !== undefined) return held
  const asked = paths.find((path) => existsSync(path))
  if (asked === undefined) return undefined
  writeFileSync(`${asked}.held`, `${process.pid} ${subject} ${readFileSync(asked, 'utf8')}`)
  rmSync(asked)
  return `${asked}.held`
}

function holdsEveryone(path: string): boolean {
  return existsSync(path) && readFileSync(path, 'utf8').endsWith(' everyone')
}
