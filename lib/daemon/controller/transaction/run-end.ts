// The end of a run on the controller: its job is over, its nodes confirm, its leases are free. It frees nothing before every node
// has confirmed.
import { type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { eachOrFirstError } from '../../each-or-first-error.ts'
import { namingRun } from '../../one-of-errors.ts'
import { reachedAtOnce } from '../../steps.ts'
import type { Ledger, RunRecord } from '../ledger/ledger.ts'
import type { Messenger } from '../messenger.ts'

/** All throw what could not be written, and are safe to repeat. What `end` throws names each run that it is about. */
export interface RunEnd {
  /** The job, up to this restart count, is over (EpilogSlurmctld or the reconciler). */
  end(run: Run): void
  /** A node has confirmed that nothing of the run is left on it. */
  nodeEnded(run: Run, node: string, usage?: { peakMemoryBytes: number; cpuTimeNs: number }): void
  /** Frees the leases of a run that is ending, if its last node has confirmed. */
  finishIfDone(run: Run): void
}

export function createRunEnd(options: {
  ledger: Ledger
  messenger: Pick<Messenger, 'pushVerdict'>
  log: Log
  now: () => number
}): RunEnd {
  const { ledger, messenger, log, now } = options

  const finishIfDone = (run: Run) => {
    const record = ledger.find(run)
    if (record?.state !== 'ending') return
    // A run that was refused has no share anywhere.
    if (ledger.hasShares(run) && !ledger.areAll(run, 'ended')) return
    ledger.finish(run, now())
    reachedAtOnce('end.finished', runId(run))
    log.info('run.ended', { run: runId(run), user: record.user, ms: now() - record.beganMs })
  }

  const endOne = (record: RunRecord) => {
    if (ledger.move(record, { from: ['preparing', 'committed', 'aborted', 'lost'], to: 'ending' })) {
      reachedAtOnce('end.recorded', runId(record))
      log.info('run.ending', { run: runId(record) })
      // Slurm lets a node's Prolog end before its Epilog begins, and nobody else tells it that the VMs are not wanted any more.
      if (record.state === 'preparing') messenger.pushVerdict({ ...record, state: 'ending' })
    }
    finishIfDone(record)
  }

  return {
    end(run) {
      const over = ledger.ofJob(run.job).filter(({ restart }) => restart <= run.restart)
      eachOrFirstError(over, (record) => namingRun(record, () => endOne(record)))
    },
    nodeEnded(run, node, usage) {
      ledger.setShare(run, node, { state: 'ended', ...usage })
      reachedAtOnce('end.confirmed', runId(run))
      finishIfDone(run)
    },
    finishIfDone,
  }
}
