// What this host is, where nobody says: Slurm knows its nodes and its controllers.
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Role } from './check.ts'
import { runTool } from './run-tool.ts'
import type { SlurmConfig } from './slurm-config.ts'

/** At least one role; a host that is neither node nor controller submits. */
export async function findOwnRoles(config: DaemonConfig, slurm: SlurmConfig | undefined): Promise<ReadonlySet<Role>> {
  const own = hostname().split('.')[0] ?? ''
  const roles = new Set<Role>()
  const controllers = (slurm?.value('SlurmctldHost') ?? config.controller.host).split(',')
  if (controllers.some((name) => name.replace(/\(.*\)$/, '').split('.')[0] === own)) roles.add('controller')
  if (await isNode(config, own, slurm)) roles.add('node')
  if (roles.size === 0) roles.add('submit')
  return roles
}

/** Where Slurm cannot be asked, by what vmrmd has left behind. */
async function isNode(config: DaemonConfig, own: string, slurm: SlurmConfig | undefined): Promise<boolean> {
  if (slurm === undefined) return existsSync(config.paths.runs)
  const { commands, config: slurmConf } = config.slurm
  const node = config.node.name ?? own
  const shown = await runTool(`${commands}/scontrol`, ['show', 'node', node], { SLURM_CONF: slurmConf })
  return shown.exitCode === 0 && shown.stdout.includes(`NodeName=${node} `)
}
