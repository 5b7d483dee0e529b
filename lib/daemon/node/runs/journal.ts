// The node's journal: for each run one file with what was intended and what was decided. It is written before the step it
// tells of; what exists is the hypervisor's to say.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { parseRunId, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { type Share, share } from '../../../protocol/messages/share.ts'
import { makeFolderDurably, removeFolderDurably, writeDurably } from '../../durable-file.ts'
import { removeCallFolder } from '../tasks/call-folder.ts'
import { openShare } from './open-share.ts'

const entrySchema = z.strictObject({
  version: z.literal(1),
  job: z.int().min(1),
  restart: z.int().min(0),
  uid: z.int().min(0),
  gid: z.int().min(0),
  user: z.string(),
  script: z.enum(['guest', 'host']),
  /** Of a batch: its client's name for it, and what was asked for. */
  batch: z.strictObject({ name: z.string(), content: z.string() }).optional(),
  /** The uid the run's QEMU processes have on this node. */
  qemuUid: z.int().min(1),
  /**
   * `preparing`: VMs are being made. `prepared`: they answered, nothing is decided yet. `removing`: from here on there is
   * no way back. `refused`: this node's share failed or the verdict is abort; VMs may still have to be removed.
   */
  state: z.enum(['preparing', 'prepared', 'committed', 'refused', 'lost', 'removing']),
  /** Lines for the user: why the run was refused or lost. */
  reason: z.string(),
  /** Why this node's share failed, as the controller is told it. */
  failure: z.strictObject({ code: z.string(), reason: z.string() }).optional(),
  beganMs: z.int(),
  share: share.optional(),
  /** VMs of this node that did not come up (best-effort), or that a batch has lost since. */
  missing: z.array(z.strictObject({ vm: z.string(), reason: z.string() })).optional(),
  /** Hostnames of all of the run's VMs that its job began without. */
  missingHosts: z.array(z.string()).optional(),
})

/** A run on this node, as it stands in its journal. */
export type JournalEntry = Omit<z.infer<typeof entrySchema>, 'share'> & { readonly share?: Share | undefined }

export interface Journal {
  /** All runs that have a folder here; a folder without a readable journal comes as `unreadable`. */
  load(): Promise<{ entries: readonly JournalEntry[]; unreadable: readonly Run[] }>
  /** Durable when it returns. */
  write(entry: JournalEntry): Promise<void>
  /** The run's folder, where everything of it on this node is. */
  folder(run: Run): string
  /** For what the run's guests send along with a command; whoever needs it makes it. */
  callFolder(run: Run): string
  /** The last step of a removal: afterwards the node knows nothing of the run. */
  remove(run: Run): Promise<void>
}

export function openJournal(options: { runsFolder: string; log: Log }): Journal {
  const folder = (run: Run) => join(options.runsFolder, runId(run))
  const callFolder = (run: Run) => join(folder(run), 'calls')
  return {
    folder,
    callFolder,
    async load() {
      await makeFolderDurably(options.runsFolder, 0o711)
      const entries: JournalEntry[] = []
      const unreadable: Run[] = []
      for (const name of await readdir(options.runsFolder)) {
        const run = parseRunId(name)
        if (run === undefined) continue
        const entry = await read(join(options.runsFolder, name, 'journal.json'))
        if (entry !== undefined && entry.job === run.job && entry.restart === run.restart) entries.push(entry)
        else unreadable.push(run)
      }
      for (const run of unreadable) options.log.warn('journal.unreadable', { run: runId(run) })
      return { entries, unreadable }
    },
    async write(entry) {
      await makeFolderDurably(folder(entry), 0o711)
      await writeDurably(join(folder(entry), 'journal.json'), JSON.stringify({ ...entry, share: entry.share?.message }))
    },
    async remove(run) {
      await removeCallFolder(callFolder(run))
      await removeFolderDurably(folder(run))
    },
  }
}

async function read(path: string): Promise<JournalEntry | undefined> {
  try {
    const entry = entrySchema.parse(JSON.parse(await readFile(path, 'utf8')))
    return { ...entry, share: entry.share === undefined ? undefined : openShare(entry, entry.share) }
  } catch {
    // A crash between making the folder and writing the file leaves none; load() reports it and the run is removed.
    return undefined
  }
}
