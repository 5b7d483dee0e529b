// Slurm's settings: hooks, PrologFlags, time limits, SlurmUser.
import { type Check, type DoctorContext, type Finding, fail, ok, problemsOr, roles, warn } from './check.ts'
import { hookProblem, hooks } from './hooks.ts'
import { jobSubmit } from './job-submit.ts'
import { type SlurmConfig, secondsOf } from './slurm-config.ts'

/** A check of Slurm's settings; nothing to say where slurmctld does not answer, which the check `slurm` says. */
function slurmCheck(
  name: string,
  look: (slurm: SlurmConfig, context: DoctorContext) => readonly Finding[] | Promise<readonly Finding[]>,
): Check {
  return {
    name,
    roles,
    async run(context) {
      const slurm = await context.slurm()
      return slurm === undefined ? [] : look(slurm, context)
    },
  }
}

const answers: Check = {
  name: 'slurm',
  roles,
  async run({ config, slurm }) {
    const found = await slurm()
    if (found !== undefined)
      return [ok(`slurmctld answers, Slurm ${found.value('SLURM_VERSION') ?? 'of unknown version'}`)]
    return [
      fail(
        `${config.slurm.commands}/scontrol show config has no answer`,
        'Without slurmctld there are no jobs, and its settings cannot be checked from here.',
        `Start slurmctld, or correct slurm/@commands and slurm/@config (${config.slurm.config}) in vmrmd.xml.`,
      ),
    ]
  },
}

const hookSettings = slurmCheck('hooks', async (slurm, { roles: own }) => {
  const problems: Finding[] = []
  for (const hook of hooks) {
    const problem = await hookProblem(hook, slurm.value(hook.key), own)
    if (problem !== undefined) problems.push(problem)
  }
  const prep = slurm.value('PrEpPlugins')
  if (prep !== undefined && !prep.split(',').includes('prep/script'))
    problems.push(
      fail(
        `PrEpPlugins=${prep} lacks prep/script`,
        'Slurm runs no Prolog and no Epilog, so no VM is ever made.',
        'Add prep/script to PrEpPlugins in slurm.conf and restart slurmctld and slurmd.',
      ),
    )
  return problemsOr('all four hooks lead to the gate', problems)
})

/** Flags that vmrm needs, and those that cannot work with it, with what they would do. */
const neededFlags = {
  Alloc: 'Without it a Prolog runs only when the first step reaches its node, too late for the VMs of the others.',
  DeferBatch: 'Without it the batch script starts while other nodes still prepare their VMs.',
} as const
const badFlags = {
  NoHold: 'srun would go ahead before the Prologs have made the VMs.',
  Serial: 'A node would prepare one job after another; the next job waits for the boot of every VM before it.',
} as const

const prologFlags = slurmCheck('prolog-flags', (slurm) => {
  const value = slurm.value('PrologFlags') ?? ''
  const flags = new Set(value.split(',').map((flag) => flag.trim().toLowerCase()))
  const problems: Finding[] = []
  for (const [flag, meaning] of Object.entries(neededFlags)) {
    if (!flags.has(flag.toLowerCase()))
      problems.push(fail(`PrologFlags=${value} lacks ${flag}`, meaning, 'In slurm.conf: PrologFlags=Alloc,DeferBatch'))
  }
  for (const [flag, meaning] of Object.entries(badFlags)) {
    if (flags.has(flag.toLowerCase()))
      problems.push(fail(`PrologFlags=${value} has ${flag}`, meaning, `Take ${flag} out of PrologFlags in slurm.conf.`))
  }
  return problemsOr(`PrologFlags=${value}`, problems)
})

/** From the daemon's deadline to Slurm's: the hook's own margin, and the time it waits for a daemon that restarts. */
const hookMarginSeconds = 60

const timeLimits = slurmCheck('prolog-timeout', (slurm, { config }) => {
  const limit = secondsOf(slurm.value('PrologEpilogTimeout'))
  const { prepareSeconds, removeSeconds } = config.timeouts
  const needed = Math.max(prepareSeconds, removeSeconds) + hookMarginSeconds
  if (limit === undefined || limit >= needed) return [ok(`PrologEpilogTimeout=${limit ?? 'unlimited'}`)]
  return [
    fail(
      `PrologEpilogTimeout=${limit} is less than ${needed}: timeouts/@prepare-seconds="${prepareSeconds}" and @remove-seconds="${removeSeconds}" in vmrmd.xml, and ${hookMarginSeconds}`,
      'Slurm would kill a hook before vmrm gives up by itself, and drain the node for a slow guest.',
      `In slurm.conf: PrologEpilogTimeout=900; or lower timeouts/@prepare-seconds in vmrmd.xml.`,
    ),
  ]
})

const mpiDefault = slurmCheck('mpi', (slurm) => {
  const value = slurm.value('MpiDefault') ?? 'none'
  if (/^(none|pmi2|pmix(_v\d+)?)$/.test(value)) return [ok(`MpiDefault=${value}`)]
  return [
    warn(
      `MpiDefault=${value}`,
      'No step of a VM job starts with this launcher type: in VMs pmi2, pmix and none work.',
      'In slurm.conf: MpiDefault=none, pmi2 or pmix; users who need another on bare nodes ask with srun --mpi.',
    ),
  ]
})

const slurmUser = slurmCheck('slurm-user', (slurm, { config }) => {
  const user = (slurm.value('SlurmUser') ?? '').replace(/\(\d+\)$/, '')
  if (user === config.controller.user) return [ok(`SlurmUser=${user}`)]
  return [
    fail(
      `SlurmUser=${user}, but vmrmd.xml has controller/@user="${config.controller.user}"`,
      'Daemons would seal messages for the wrong user, and nobody could read them.',
      `In vmrmd.xml on all hosts: <controller user="${user}" …/>, then restart vmrmd.`,
    ),
  ]
})

export const slurmChecks: readonly Check[] = [
  answers,
  hookSettings,
  prologFlags,
  timeLimits,
  mpiDefault,
  slurmUser,
  jobSubmit,
]
