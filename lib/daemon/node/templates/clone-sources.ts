// What the VMs of a run are cloned from: a template for each size among them, copied into the run's folder. No failure of it
// is a failure of the run: VMs without a source boot.
import type { Image } from '../../../config/image-schema.ts'
import { toVmrmError, type VmrmError } from '../../../errors/vmrm-error.ts'
import { runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { MachineCpus } from '../machine-cpus.ts'
import type { Journal, JournalEntry } from '../runs/journal.ts'
import type { CloneSource } from '../vms/domain-of.ts'
import { copyForRun } from './run-copy.ts'
import type { Templates } from './templates.ts'

export interface Size {
  readonly vcpus: number
  readonly memoryMib: number
}

export interface CloneSources {
  /** For each size its source, or undefined. Rejects with the signal's reason only. */
  prepare(
    run: { entry: JournalEntry; share: Share; image: Image },
    signal: AbortSignal,
  ): Promise<(size: Size) => CloneSource | undefined>
  /** A clone of it did not come up, and the same VM has booted. */
  distrust(source: CloneSource, problem: VmrmError): Promise<void>
}

export function createCloneSources(options: {
  templates: Templates
  journal: Journal
  machineCpus: MachineCpus
  qemuGid: number
  log: Log
}): CloneSources {
  const { templates, journal, machineCpus, qemuGid, log } = options

  const sourceFor = async (
    { entry, share, image }: { entry: JournalEntry; share: Share; image: Image },
    size: Size,
    signal: AbortSignal,
  ): Promise<CloneSource | undefined> => {
    const run = runId(entry)
    const beganMs = performance.now()
    const answer = await templates.obtain({ image, size, uid: entry.uid, cpus: machineCpus(share) }, signal)
    if (answer.kind === 'none') {
      log.info('run.boots', { run, ...size, why: answer.why })
      return undefined
    }
    const obtainedMs = performance.now()
    try {
      const source = await templates.use(answer.template, ({ key, files }) =>
        copyForRun({
          ...{ key, files, signal },
          runFolder: journal.folder(entry),
          owner: { uid: entry.qemuUid, gid: qemuGid },
        }),
      )
      log.info('run.clones', {
        ...{ run, ...size, template: answer.template.key, how: answer.how },
        obtainMs: Math.round(obtainedMs - beganMs),
        copyMs: Math.round(performance.now() - obtainedMs),
      })
      return source
    } catch (thrown) {
      signal.throwIfAborted()
      log.warn('run.boots', { run, ...size, why: toVmrmError(thrown).message })
      return undefined
    }
  }

  return {
    async prepare(run, signal) {
      const nameOf = ({ vcpus, memoryMib }: Size) => `${vcpus} ${memoryMib}`
      const sizes = new Map<string, Size>()
      for (const { vcpus, memoryMib } of run.share.vms) sizes.set(nameOf({ vcpus, memoryMib }), { vcpus, memoryMib })
      const sources = new Map(
        await Promise.all([...sizes].map(async ([name, size]) => [name, await sourceFor(run, size, signal)] as const)),
      )
      return (size) => sources.get(nameOf(size))
    },
    distrust: (source, problem) => templates.distrust(source.key, problem),
  }
}
