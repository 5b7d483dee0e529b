// The SPANK plug-in: named in plugstack.conf, there, and built for the Slurm that runs.
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Check, type DoctorContext, type Finding, fail, problemsOr, warn } from './check.ts'
import { readElfConstant } from './elf-symbol.ts'
import { findPlugstackLine } from './plugstack.ts'

async function lineFindings(context: DoctorContext): Promise<Finding[]> {
  const { plugin, config: slurmConf } = context.config.slurm
  const path = (await context.slurm())?.value('PlugStackConfig') ?? join(dirname(slurmConf), 'plugstack.conf')
  const mend = `In ${path}: required ${plugin}`
  const line = await findPlugstackLine(path, plugin).catch(() => undefined)
  if (line === undefined)
    return [
      fail(
        `${path} does not name ${plugin}`,
        'The --vm options are unknown, and tasks of VM jobs run on the host.',
        mend,
      ),
    ]
  if (line.necessity === 'required' || !context.roles.has('node')) return []
  return [
    warn(
      `${line.file} has the plug-in as optional`,
      'If the file is missing or of another version, tasks of VM jobs run on this node itself instead of failing.',
      mend,
    ),
  ]
}

/** SLURM_VERSION_NUM of slurm.h: 0xMMmmpp. */
function majorMinor(version: number): string {
  const [major, minor] = [(version >> 16) & 0xff, (version >> 8) & 0xff]
  return `${String(major).padStart(2, '0')}.${String(minor).padStart(2, '0')}`
}

async function fileFindings(context: DoctorContext): Promise<Finding[]> {
  const { plugin } = context.config.slurm
  const file = await readFile(plugin).catch((error: NodeJS.ErrnoException) => error)
  if (file instanceof Error)
    return [
      fail(
        `${plugin} cannot be read: ${file.code ?? file.message}`,
        'With the required line in plugstack.conf slurmd and every sbatch, srun and salloc on this host stop.',
        'Install the vmrm package on this host, or take its line out of plugstack.conf.',
      ),
    ]
  const built = readElfConstant(file, 'plugin_version')
  const running = (await context.slurm())?.value('SLURM_VERSION')
  if (built === undefined)
    return [fail(`${plugin} is no SPANK plug-in`, 'Slurm cannot load it.', 'Install the vmrm package again.')]
  if (running === undefined || running.startsWith(`${majorMinor(built)}.`)) return []
  return [
    fail(
      `${plugin} was built for Slurm ${majorMinor(built)}, and ${running} runs`,
      'Slurm loads a plug-in of its own major.minor version only: all submissions on this host fail.',
      'Build vmrm.so against the headers of the Slurm that runs: make -C hooks/spank SLURM_CFLAGS=-I…/include',
    ),
  ]
}

export const plugInCheck: Check = {
  name: 'plug-in',
  roles: ['node', 'submit'],
  async run(context) {
    const problems = [...(await lineFindings(context)), ...(await fileFindings(context))]
    return problemsOr(`${context.config.slurm.plugin} is loaded and fits Slurm`, problems)
  },
}
