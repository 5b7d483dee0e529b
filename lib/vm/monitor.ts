// QEMU's own monitor (QMP), through libvirt: what libvirt has no call for. It says commands and types their answers.
import { z } from 'zod'
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts'

const answer = z.union([z.object({ error: z.object({ desc: z.string() }) }), z.object({ return: z.unknown() })])
const migration = z.object({ status: z.string().optional(), 'error-desc': z.string().optional() })

/** QEMU's refusal, in its own words. */
export class MonitorError extends Error {}

export interface MigrationState {
  /** QEMU's word, such as `completed` or `failed`; undefined when none has begun. */
  readonly status: string | undefined
  readonly problem: string | undefined
}

/** One domain's monitor. Each call rejects as `LibvirtConnection.qemuMonitorCommand` does, or with MonitorError. */
export class Monitor {
  readonly #connection: LibvirtConnection
  readonly #domain: DomainRef

  constructor(connection: LibvirtConnection, domain: DomainRef) {
    this.#connection = connection
    this.#domain = domain
  }

  /** Whether memory in files that others share stays out of the stream of a migration; both ends must agree. */
  async ignoreShared(state: boolean, signal?: AbortSignal): Promise<void> {
    const capabilities = [{ capability: 'x-ignore-shared', state }]
    await this.#execute('migrate-set-capabilities', { capabilities }, signal)
  }

  async migrateTo(socketPath: string, signal?: AbortSignal): Promise<void> {
    await this.#execute('migrate', { uri: `unix:${socketPath}` }, signal)
  }

  /** QEMU listens when this returns. Only for one that was started with `-incoming defer`. */
  async listenForMigration(socketPath: string, signal?: AbortSignal): Promise<void> {
    await this.#execute('migrate-incoming', { uri: `unix:${socketPath}` }, signal)
  }

  async migration(signal?: AbortSignal): Promise<MigrationState> {
    const state = migration.parse(await this.#execute('query-migrate', undefined, signal))
    return { status: state.status, problem: state['error-desc'] }
  }

  async #execute(execute: string, args: object | undefined, signal: AbortSignal | undefined): Promise<unknown> {
    const command = JSON.stringify({ execute, arguments: args })
    const text = await this.#connection.qemuMonitorCommand(this.#domain, command, { signal })
    const said = answer.parse(JSON.parse(text))
    if ('error' in said) throw new MonitorError(`${execute}: ${said.error.desc}`)
    return said.return
  }
}
