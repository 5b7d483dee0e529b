// /etc/vmrm/default-images on the controller: while it is there, the gate lets PrologSlurmctld look for the image of jobs that
// named none. Without it a job that has been given one would run outside its VMs, so it goes only when no job has.
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeDurably } from '../../daemon/durable-file.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'

/** hooks/paths.h has the whole path. */
const flagName = 'default-images'

const text = `# Made by vmrm job-submit-table: jobs may have a default image. It must not be removed by hand.
`

export function flagBeside(tablePath: string): string {
  return join(dirname(tablePath), flagName)
}

/** `kept`: it is still needed, or nobody can say. Throws `command-failed` where the file cannot be written. */
export async function setFlag(
  path: string,
  wanted: 'decides' | 'decides-nothing',
  slurm: SlurmCommands,
): Promise<'set' | 'kept' | 'absent'> {
  try {
    if (wanted === 'decides') {
      await writeDurably(path, text, 0o644)
      return 'set'
    }
    if (!existsSync(path)) return 'absent'
    if (await slurm.hasDecidedJobs().catch(() => true)) return 'kept'
    await rm(path)
    return 'absent'
  } catch (cause) {
    throw new VmrmError('command-failed', `${path} cannot be written: ${(cause as Error).message}`, { cause })
  }
}
