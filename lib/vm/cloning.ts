// How a VM becomes a template and how a clone takes its state, in steps on one domain. It starts no domain, ends none but a
// template's own, and never touches the file of the memory.
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type DomainRef, type LibvirtConnection, LibvirtError } from '../libvirt/index.ts'
import { Monitor, MonitorError } from './monitor.ts'
import { receiveState, sendState } from './state-transfer.ts'

/** The stream is some hundred KiB, so this is for a machine that is very busy. */
const transferBoundMs = 60_000
const pollMs = 10
/** How much of the end of QEMU's log is looked at. */
const logTailBytes = 2_000

export interface CloningStep {
  readonly connection: LibvirtConnection
  readonly domain: DomainRef
  readonly socketPath: string
  readonly statePath: string
  /** Where libvirt keeps NAME.log, what QEMU has said. */
  readonly logFolder: string
  readonly signal?: AbortSignal | undefined
}

/** Pauses, writes the state, ends the VM; see `Hypervisor.saveTemplate`. */
export function saveTemplate(step: CloningStep, owner: { uid: number; gid: number }): Promise<void> {
  const { connection, domain, socketPath, statePath } = step
  const monitor = new Monitor(connection, domain)
  return withReason(step, 'template-failed', async (signal) => {
    await connection.suspend(domain, { signal })
    await monitor.ignoreShared(true, signal)
    const migrate = async () => {
      await monitor.migrateTo(socketPath, signal)
      await awaitMigration(monitor, signal)
    }
    await receiveState({ socketPath, statePath, signal }, { owner, migrate })
    await connection.destroy(domain, { signal })
  })
}

/** Fills a clone, which stays paused; see `Hypervisor.load`. */
export function loadClone(step: CloningStep): Promise<void> {
  const { connection, domain, socketPath, statePath } = step
  const monitor = new Monitor(connection, domain)
  return withReason(step, 'vm-start-failed', async (signal) => {
    await monitor.ignoreShared(true, signal)
    await monitor.listenForMigration(socketPath, signal)
    await sendState({ socketPath, statePath, signal })
    await awaitMigration(monitor, signal)
    // From now on it is a VM like any other: what saves or migrates it takes its memory along.
    await monitor.ignoreShared(false, signal)
  })
}

/** QEMU tells of the end of a migration only who listens to its events, so it is asked. */
async function awaitMigration(monitor: Monitor, signal: AbortSignal): Promise<void> {
  for (;;) {
    const { status, problem } = await monitor.migration(signal)
    if (status === 'completed') return
    if (status === 'failed' || status === 'cancelled') throw new MonitorError(problem ?? `the migration has ${status}`)
    await delay(pollMs, undefined, { signal })
  }
}

const sentences = {
  'template-failed': (name: string) => `No template could be made of VM ${name}`,
  'vm-start-failed': (name: string) => `VM ${name} could not be started as a clone`,
} as const

/** What fails in `work` becomes an error of that code, with QEMU's last words; the caller's own abort stays what it is. */
async function withReason(
  { domain, logFolder, signal }: CloningStep,
  code: keyof typeof sentences,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const bound = AbortSignal.timeout(transferBoundMs)
  try {
    await work(signal === undefined ? bound : AbortSignal.any([signal, bound]))
  } catch (cause) {
    if (signal?.aborted) throw signal.reason
    if (cause instanceof VmrmError && !(cause instanceof LibvirtError)) throw cause
    const why = bound.aborted ? `QEMU was not done within ${transferBoundMs} ms` : wordsOf(cause)
    const quoted = await lastWords(join(logFolder, `${domain.name}.log`))
    throw new VmrmError(code, `${sentences[code](domain.name)}: ${why}`, { cause, ...(quoted ? { quoted } : {}) })
  }
}

function wordsOf(thrown: unknown): string {
  if (thrown instanceof LibvirtError) return thrown.libvirtWords
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** What QEMU itself has said at the end of its log; empty where there is no log to read. */
async function lastWords(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined)
  if (file === undefined) return ''
  try {
    const start = Math.max(0, (await file.stat()).size - logTailBytes)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(logTailBytes), 0, logTailBytes, start)
    const lines = buffer.toString('utf8', 0, bytesRead).split('\n')
    return lines.filter((line) => /qemu-system-\w+: /.test(line)).join('\n')
  } finally {
    await file.close()
  }
}
