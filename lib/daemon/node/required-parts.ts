// The parts of vmrm without which a task of a VM job could run on the host: a node without them takes no run.
import { existsSync } from 'node:fs'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { taskRunner } from '../installed.ts'

export interface RequiredParts {
  areThere(): boolean
  /** Rejects with `parts-missing`, which names the first that is. */
  require(): Promise<void>
}

export function requiredParts(config: DaemonConfig, node: string): RequiredParts {
  const parts = [config.slurm.plugin, taskRunner]
  const missing = () => parts.find((part) => !existsSync(part))
  return {
    areThere: () => missing() === undefined,
    async require() {
      const part = missing()
      if (part !== undefined) throw new VmrmError('parts-missing', `${part} is missing on node ${node}`)
    },
  }
}
