// Whether Slurm's four hooks lead to the gate: by name everywhere, by looking where the hook runs.
import { glob, readFile, realpath } from 'node:fs/promises'
import { basename } from 'node:path'
import { type Finding, fail, type Role } from './check.ts'

export interface Hook {
  readonly key: 'Prolog' | 'Epilog' | 'PrologSlurmctld' | 'EpilogSlurmctld'
  /** The link's name, by which the gate knows what it is. */
  readonly link: string
  /** Where its file can be looked at. */
  readonly role: Role
  readonly meaning: string
}

const gateFolder = '/usr/lib/vmrm/gate'
const gate = '/usr/lib/vmrm/vmrm-gate'

export const hooks: readonly Hook[] = [
  { key: 'Prolog', link: 'prolog', role: 'node', meaning: 'No VM is made on any node: tasks of VM jobs fail.' },
  { key: 'Epilog', link: 'epilog', role: 'node', meaning: 'VMs of ended jobs stay until vmrmd finds them.' },
  {
    key: 'PrologSlurmctld',
    link: 'prolog-slurmctld',
    role: 'controller',
    meaning: 'No run is ever planned: nodes wait for a share that does not come, and VM jobs fail.',
  },
  {
    key: 'EpilogSlurmctld',
    link: 'epilog-slurmctld',
    role: 'controller',
    meaning: 'Leases of ended jobs are kept until vmrmd finds out by itself.',
  },
]

/** Undefined where all is well. `value` is what Slurm runs with: a path, a pattern, or several, separated by commas. */
export async function hookProblem(
  hook: Hook,
  value: string | undefined,
  roles: ReadonlySet<Role>,
): Promise<Finding | undefined> {
  const mend = `In slurm.conf: ${hook.key}=${gateFolder}/${hook.link} (see slurm.conf.vmrm for a site with a hook of its own), then \`scontrol reconfigure\`.`
  if (value === undefined) return fail(`${hook.key} is not set`, hook.meaning, mend)
  const patterns = value.split(',')
  if (!roles.has(hook.role)) return undefined
  for (const pattern of patterns) {
    for await (const path of glob(pattern)) if (await leadsToGate(path, hook.link)) return undefined
  }
  return fail(`${hook.key}=${value} does not lead to ${gateFolder}/${hook.link}`, hook.meaning, mend)
}

/** The gate itself by a link of the right name, or a script of the site that names that link. */
async function leadsToGate(path: string, link: string): Promise<boolean> {
  try {
    const target = await realpath(path)
    if (target === (await realpath(gate).catch(() => gate))) return basename(path) === link
    return (await readFile(target, 'latin1')).includes(`${gateFolder}/${link}`)
  } catch {
    // What cannot be read is not the gate; a missing part is another check's.
    return path === `${gateFolder}/${link}`
  }
}
