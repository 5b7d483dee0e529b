// vmrm's own files: there, executable, and nobody's but root's.
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Check, type Finding, fail, problemsOr, type Role, roles } from './check.ts'

const folder = '/usr/lib/vmrm'
const executables: Readonly<Record<Role, readonly string[]>> = {
  node: [
    'vmrm',
    'vmrmd',
    'vmrm-prolog',
    'vmrm-epilog',
    'vmrm-gate',
    'gate/prolog',
    'gate/epilog',
    'vmrm-run',
    'vmrm-agent',
  ],
  controller: [
    'vmrm',
    'vmrmd',
    'vmrm-prolog-slurmctld',
    'vmrm-epilog-slurmctld',
    'vmrm-gate',
    'gate/prolog-slurmctld',
    'gate/epilog-slurmctld',
  ],
  submit: ['vmrm'],
}

const writableByOthers = 0o022
const executableByAll = 0o111
const reinstall = 'Install the vmrm package again on this host.'

export const partsCheck: Check = {
  name: 'parts',
  roles,
  async run(context) {
    const names = new Set([...context.roles].flatMap((role) => executables[role]))
    const problems: Finding[] = []
    for (const name of names) {
      const path = join(folder, name)
      const found = await stat(path).catch(() => undefined)
      if (found === undefined) problems.push(fail(`${path} is missing`, 'VM jobs fail on this host.', reinstall))
      else if ((found.mode & executableByAll) !== executableByAll)
        problems.push(fail(`${path} is not executable for all`, 'VM jobs fail on this host.', `chmod 0755 ${path}`))
      else if (found.uid !== 0 || (found.mode & writableByOthers) !== 0)
        problems.push(
          fail(
            `${path} may be changed by others than root`,
            'They could run code as root.',
            `chown root ${path}; chmod 0755 ${path}`,
          ),
        )
    }
    return problemsOr(`${names.size} parts below ${folder}`, problems)
  },
}
