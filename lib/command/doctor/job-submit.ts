// The rules at submission: whether slurmctld has them, whether their table is what vmrmd.xml and the catalogue say now, and
// whether the flag of default images goes with it.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { openCatalogue } from '../../config/load.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { flagBeside } from '../job-submit/default-flag.ts'
import { jobSubmitTableText, mayDecide } from '../job-submit/table-text.ts'
import { tablePath } from '../job-submit-table.ts'
import { type Check, type Finding, fail, ok, warn } from './check.ts'

const mend = `vmrm job-submit-table --output ${tablePath}`

const ruleFiles = ['vmrm', 'job', 'choice', 'size'].map((name) => `/usr/lib/vmrm/job_submit/${name}.lua`)

export const jobSubmit: Check = {
  name: 'job-submit',
  roles: ['controller'],
  async run(context) {
    const slurm = await context.slurm()
    if (slurm === undefined) return []
    const { config } = context
    const plugins = slurm.value('JobSubmitPlugins')?.split(',') ?? []
    if (!plugins.includes('lua')) return withoutRules(config, `JobSubmitPlugins=${plugins.join(',')} has no lua`)
    const script = join(dirname(slurm.value('SLURM_CONF') ?? '/etc/slurm/slurm.conf'), 'job_submit.lua')
    const text = await readFile(script, 'utf8').catch(() => undefined)
    if (text === undefined)
      return [
        fail(
          `JobSubmitPlugins has lua, and ${script} cannot be read`,
          'slurmctld refuses every job, and does not start again.',
          `Put slurm-conf-snippets/job_submit/job_submit.lua there, or take lua out of JobSubmitPlugins.`,
        ),
      ]
    if (!text.includes('vmrm.lua')) {
      const problems = withoutRules(config, `${script} does not call vmrm's rules`)
      return problems.length > 0 ? problems : [ok(`${script} is the site's own, without vmrm's rules`)]
    }
    const absent = ruleFiles.find((path) => !existsSync(path))
    if (absent !== undefined)
      return [
        fail(`${absent} is missing`, 'slurmctld cannot load the rules, and refuses every job.', 'Install vmrm again.'),
      ]
    const problem = (await tableProblem(config)) ?? flagProblem(config)
    return [problem ?? modifyProblem(config, script, text) ?? ok(`the rules at submission are in ${script}`)]
  },
}

/** Nothing to say where nothing is to be decided. */
function withoutRules(config: DaemonConfig, text: string): readonly Finding[] {
  if (!mayDecide(config)) return []
  const meaning = 'The defaults of vmrmd.xml count for no job: those that name no image run outside VMs.'
  return [fail(text, meaning, 'slurm-conf-snippets/README.md says what to include; then scontrol reconfigure.')]
}

async function tableProblem(config: DaemonConfig): Promise<Finding | undefined> {
  const found = await readFile(tablePath, 'utf8').catch(() => undefined)
  if (found === undefined)
    return (mayDecide(config) ? fail : warn)(
      `${tablePath} is missing`,
      'The rules at submission check nothing, and no default image counts; sizes are refused only when a job starts.',
      mend,
    )
  try {
    const catalogue = openCatalogue(config.paths.images)
    if (found === jobSubmitTableText(config, [...catalogue.images().values()])) return undefined
  } catch (thrown) {
    return fail(toVmrmError(thrown).message, 'The table of the rules at submission cannot be made.', mend)
  }
  return warn(
    `${tablePath} is not what vmrmd.xml and the catalogue say now`,
    'The rules at submission go by older images, limits and defaults.',
    mend,
  )
}

function flagProblem(config: DaemonConfig): Finding | undefined {
  const flag = flagBeside(tablePath)
  if (mayDecide(config) && !existsSync(flag))
    return fail(
      `${flag} is missing`,
      'Interactive jobs that have a default image run outside VMs, and batch jobs fail.',
      mend,
    )
  if (!mayDecide(config) && existsSync(flag))
    return warn(
      `${flag} is there, and vmrmd.xml has no defaults`,
      'PrologSlurmctld looks for a default image of every job, for some tens of milliseconds.',
      `${mend}, when no job in the queue has one any more`,
    )
  return undefined
}

/** Before there were defaults, a site's script needed only the first of the two functions. */
function modifyProblem(config: DaemonConfig, script: string, text: string): Finding | undefined {
  if (!mayDecide(config) || text.includes('vmrm.modify')) return undefined
  return warn(
    `${script} does not call vmrm.modify`,
    'An administrator who sets AdminComment takes the default image of that job away, and jobs can be moved past a default.',
    'Add the lines of slurm-conf-snippets/job_submit/job_submit.lua that are marked vmrm.',
  )
}
