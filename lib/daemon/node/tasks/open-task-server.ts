// task.sock of a node, put together: who may enter which VM, and which commands its guests may have run on the host.
import { join } from 'node:path'
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { TaskServer } from '../../../guest/relay/task-server.ts'
import type { Log } from '../../../log.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { RelayedCommand } from '../../../slurm/relayed-commands.ts'
import type { Host } from '../host.ts'
import type { Journal } from '../runs/journal.ts'
import type { NodeRuns } from '../runs/node-runs.ts'
import { createAdmit } from './admit.ts'
import { createAdmitCall } from './admit-call.ts'
import { makeCallFolder } from './call-folder.ts'
import { createTaskProlog } from './task-prolog.ts'

const askVerdictMs = 1000

/** It does not listen yet. */
export function openTaskServer(options: {
  config: DaemonConfig
  host: Host
  runs: NodeRuns
  journal: Journal
  images: () => ReadonlyMap<string, Image>
  commands: ReadonlyMap<string, RelayedCommand>
  slurm: SlurmCommands
  log: Log
}): TaskServer {
  const { config, host, runs, journal, images, commands, slurm, log } = options
  const { node, machineCpus, peerCredentials } = host
  const findRun = (job: number) => runs.ofJob(job)
  return new TaskServer({
    path: join(config.paths.runtime, 'task.sock'),
    log,
    peerCredentials,
    admit: createAdmit({
      ...{ findRun, machineCpus, node, log },
      askVerdict: (run) => void runs.askVerdict(run),
      imageOf: (name) => images().get(name),
      taskProlog: createTaskProlog({ ask: () => slurm.taskProlog(), log, now: () => Date.now() }),
      verdictMs: config.timeouts.verdictSeconds * 1000,
      askEveryMs: askVerdictMs,
    }),
    admitCall: createAdmitCall({
      ...{ findRun, commands, log },
      folderOf: async (entry) => {
        await makeCallFolder(journal.callFolder(entry), entry)
        return journal.callFolder(entry)
      },
    }),
  })
}
