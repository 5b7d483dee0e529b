// What runs on the host when a guest asks for one of Slurm's commands: the answer to every SERVE. It starts nothing.
import type { Image } from '../../../config/image-schema.ts'
import type { CallAdmission, CallRequest } from '../../../guest/relay/admission.ts'
import type { Log } from '../../../log.ts'
import type { RelayedCommand } from '../../../slurm/relayed-commands.ts'
import type { JournalEntry } from '../runs/journal.ts'
import type { LiveRun } from '../runs/live-run.ts'

const refusedExit = 1

export interface AdmitCallOptions {
  readonly findRun: (job: number) => LiveRun | undefined
  readonly commands: ReadonlyMap<string, RelayedCommand>
  /** The run's folder for what comes from its guests; it is there when this returns. */
  readonly folderOf: (entry: JournalEntry) => Promise<string>
  readonly log: Log
}

/** Whether a task of this run may have Slurm's commands run: as the run's user alone, and never as root. */
export function callsOf(entry: JournalEntry, uid: number, image: Image | undefined): 'allowed' | 'refused' {
  return uid === entry.uid && uid !== 0 && image?.os.relay === true ? 'allowed' : 'refused'
}

/** The command is the guest's word: it is looked up, never used. */
export function createAdmitCall(options: AdmitCallOptions) {
  return async (request: CallRequest): Promise<CallAdmission> => {
    const { findRun, commands, folderOf, log } = options
    const entry = findRun(Number(request.jobId))?.entry
    if (entry === undefined || entry.state !== 'committed' || entry.uid !== request.uid || request.uid === 0) {
      return refuse('vmrm: the job has ended\n')
    }
    const folder = await folderOf(entry)
    if (request.command === undefined) return { outcome: 'admitted', folder }
    const command = commands.get(request.command)
    if (command === undefined) {
      const name = JSON.stringify(request.command.slice(0, 40))
      log.info('call.refused', { vm: request.vm, uid: request.uid, command: name })
      return refuse(`vmrm: ${name} is none of the commands that are run for a guest on this node\n`)
    }
    log.info('call.admitted', { vm: request.vm, uid: request.uid, command: request.command })
    const { program, programArguments } = command
    return { outcome: 'admitted', program, programArguments, folder }
  }
}

function refuse(text: string): CallAdmission {
  return { outcome: 'refused', text, exitCode: refusedExit }
}
