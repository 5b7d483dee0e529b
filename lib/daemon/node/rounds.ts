// What a node's daemon does again and again while it lives: each piece on its own, so that one which fails holds up no other.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Log } from '../../log.ts'
import { repeatEvery } from '../repeat-every.ts'
import { tellTime, tellTimeMs } from './clocks.ts'
import type { Consoles } from './consoles.ts'
import { markersFolder } from './folders.ts'
import { sweepMarkers } from './markers.ts'
import type { ControllerLink } from './ports.ts'
import type { Journal } from './runs/journal.ts'
import type { NodeRuns } from './runs/node-runs.ts'
import { templateSweep } from './templates/open-templates.ts'
import type { Templates } from './templates/templates.ts'
import { vmFiles } from './vms/domain-of.ts'

const consoleCheckMs = 10_000
/** Each question costs the controller a squeue, and a job may keep its marker for days with the off switch set. */
const markerAskMs = 300_000
const markerAgeMs = 60_000

/** Begins all of it; what it returns ends it. */
export function beginRounds(options: {
  config: DaemonConfig
  runs: NodeRuns
  journal: Journal
  consoles: Consoles
  controller: ControllerLink
  templates: Templates
  log: Log
}): () => void {
  const { config, runs, journal, consoles, controller, templates, log } = options
  const reconcileMs = config.timeouts.reconcileSeconds * 1000
  const markers = {
    ...{ folder: markersFolder(config), minimumAgeMs: markerAgeMs, askAgainMs: markerAskMs, log },
    asked: new Map<number, number>(),
    hasJob: (job: number) => runs.ofJob(job) !== undefined,
    endedJobs: (jobs: readonly number[]) => controller.endedJobs(jobs),
    now: () => Date.now(),
  }
  const stops = [
    { event: 'reconcile.failed', intervalMs: reconcileMs, log, work: () => runs.reconcile() },
    {
      ...{ event: 'console.failed', intervalMs: consoleCheckMs, log },
      work: () => consoles.cap(consolePaths(journal, runs)),
    },
    { event: 'clocks.failed', intervalMs: tellTimeMs, log, work: () => tellTime(runs.all(), Date.now()) },
    { event: 'markers.failed', intervalMs: reconcileMs, log, work: () => sweepMarkers(markers) },
    templateSweep(templates, log),
  ].map(repeatEvery)
  return () => {
    for (const stop of stops) stop()
  }
}

function consolePaths(journal: Journal, runs: NodeRuns): readonly string[] {
  return runs
    .all()
    .flatMap((run) => [...run.vms.values()].map((vm) => vmFiles(journal.folder(run.entry), vm.index).console))
}
