// A node of the simulation: the real run state machine and message handlers over VMs, a journal and a clock in memory. It can
// die and come back: what its dead daemon had begun never goes on.
import { EventEmitter } from 'node:events'
import { createNodeHandlers, heldRuns } from '../../lib/daemon/node/node-handlers.ts'
import type { ControllerLink, VmMaker } from '../../lib/daemon/node/ports.ts'
import type { JournalEntry } from '../../lib/daemon/node/runs/journal.ts'
import type { LiveRun, LiveVm } from '../../lib/daemon/node/runs/live-run.ts'
import { NodeRuns } from '../../lib/daemon/node/runs/node-runs.ts'
import { openShare } from '../../lib/daemon/node/runs/open-share.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { runId } from '../../lib/job/run.ts'
import { silentLog } from '../../lib/log.ts'
import type { Share } from '../../lib/protocol/messages/share.ts'
import type { Random } from '../support/random.ts'
import type { LossyNetwork } from './lossy-network.ts'
import type { SimController } from './messages-controller.ts'
import type { VirtualClock } from './virtual-clock.ts'

export interface NodeWatch {
  /** Before it is on disk. */
  journaled(node: string, entry: JournalEntry): void
  /** VMs of the run were there and are gone now. */
  removed(node: string, run: string, why: 'asked' | 'stray'): void
}

interface SimNodeOptions {
  readonly name: string
  readonly clock: VirtualClock
  readonly network: LossyNetwork
  readonly random: Random
  readonly controller: () => SimController
  readonly watch: NodeWatch
}

type ControllerHandlers = SimController['handlers']

const channel = Object.assign(new EventEmitter(), { close: () => {} }) as unknown as GuestChannel
const never = new Promise<never>(() => {})

const live = (vm: Share['vms'][number]): LiveVm => ({ index: vm.index, name: vm.name, hostname: vm.hostname, channel })

export class SimNode {
  readonly name: string
  /** VM to run. */
  readonly vms = new Map<string, string>()
  readonly journal = new Map<string, JournalEntry>()
  /** Whether there is room for the journal; `full`: mostly not. */
  disk: 'well' | 'full' = 'well'
  readonly #options: SimNodeOptions
  #life = { isOver: false }
  runs: NodeRuns
  handlers: ReturnType<typeof createNodeHandlers>

  constructor(options: SimNodeOptions) {
    this.name = options.name
    this.#options = options
    this.runs = this.#newRuns()
    this.handlers = this.#newHandlers()
  }

  isUp(): boolean {
    return !this.#life.isOver
  }

  /** The daemon dies; with `power` its VMs do, too. */
  die(what: 'daemon' | 'power'): void {
    this.#life.isOver = true
    if (what === 'power') this.vms.clear()
  }

  async start(): Promise<void> {
    this.#life = { isOver: false }
    this.runs = this.#newRuns()
    this.handlers = this.#newHandlers()
    await this.runs.recover()
  }

  /** A call to this node: while it is down nobody answers. */
  call<T>(work: (handlers: SimNode['handlers']) => Promise<T>, timeoutMs?: number): Promise<T> {
    return this.#options.network.call(() => (this.isUp() ? work(this.handlers) : never), timeoutMs)
  }

  /** A VM ends by itself. */
  crashVm(name: string): void {
    if (this.vms.delete(name) && this.isUp()) void this.runs.vmStopped(name, 'crashed')
  }

  #alive<A extends unknown[], R>(work: (...args: A) => Promise<R>): (...args: A) => Promise<R> {
    const life = this.#life
    return async (...args) => {
      if (life.isOver) return never
      try {
        const result = await work(...args)
        return life.isOver ? never : result
      } catch (error) {
        if (life.isOver) return never
        throw error
      }
    }
  }

  #newHandlers() {
    return createNodeHandlers({
      ...{ runs: this.runs, node: this.name, markers: '/nowhere', health: () => 'ready' as const, trustedUids: [0] },
      readConsole: async () => {
        throw new Error('nobody reads consoles here')
      },
    })
  }

  #newRuns(): NodeRuns {
    const { clock, random, watch } = this.#options
    return new NodeRuns({
      journal: {
        load: async () => ({ entries: [...this.journal.values()], unreadable: [] }),
        write: this.#alive(async (entry) => {
          if (this.disk === 'full' && random.int(4) > 0)
            throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
          watch.journaled(this.name, entry)
          this.journal.set(runId(entry), entry)
        }),
        remove: this.#alive(async (run) => void this.journal.delete(runId(run))),
        folder: () => '/nowhere',
        callFolder: () => '/nowhere',
      },
      controller: this.#link(),
      maker: this.#maker(),
      log: silentLog,
      node: this.name,
      ...{ prepareMs: 60_000, shareMs: 30_000, adoptMs: 30_000, firstUid: 600_000, uidCount: 1000 },
      otherUids: () => [],
      onGone: () => {},
      onAdopted: () => {},
      now: () => clock.nowMs,
    })
  }

  #link(): ControllerLink {
    const { controller, network } = this.#options
    const node = this.name
    const call = <T>(work: (of: ControllerHandlers) => Promise<T>): Promise<T> =>
      this.#alive(() => network.call<T>(() => (controller().isUp() ? work(controller().handlers) : never)))()
    return {
      getShare: ({ job, restart }) =>
        call(async (of) => {
          const { state, reason, share } = await of['get-share']({ job, restart, node })
          if (state === 'share' && share !== undefined) return { state, share: openShare({ job, restart }, share) }
          if (state === 'refused') return { state, reason: reason ?? '' }
          return { state: state === 'pending' ? 'pending' : 'unknown' }
        }),
      reportPrepared: async ({ job, restart }, missing) =>
        call(async (of) => {
          const {
            verdict,
            reason = '',
            missing: lacks = [],
          } = await of['report-prepared']({
            ...{ job, restart, node, missing: [...missing] },
          })
          return { verdict, reason, missing: lacks }
        }),
      reportFailed: async ({ job, restart }, cause) =>
        void (await call((of) => of['report-failed']({ job, restart, node, ...cause }))),
      reportEnded: async ({ job, restart }) =>
        void (await call((of) => of['report-ended']({ job, restart, node, peakMemoryBytes: 1n, cpuTimeNs: 1n }))),
      reportLost: async ({ job, restart }, cause) =>
        void (await call((of) => of['report-lost']({ job, restart, node, ...cause }))),
      getVerdict: ({ job, restart }) =>
        call(async (of) => {
          const { verdict, reason = '', missing = [] } = await of['get-verdict']({ job, restart, node })
          return { verdict, reason, missing }
        }),
      endedJobs: async () => [],
      hello: (entries) => {
        const runs = heldRuns(entries)
        return call(async (of) => (await of['node-hello']({ node, address: '10.0.0.1', health: 'ready', runs })).runs)
      },
    }
  }

  #maker(): VmMaker {
    const { clock, random } = this.#options
    const make = async (run: LiveRun, share: Share, signal: AbortSignal): Promise<readonly LiveVm[]> => {
      const up: LiveVm[] = []
      for (const vm of share.vms) {
        this.vms.set(vm.name, run.name)
        await clock.delay(100 + random.int(3000), signal)
        if (random.int(100) >= 4) {
          up.push(live(vm))
          continue
        }
        const error = new VmrmError('vm-boot-timeout', `VM ${vm.name} on node ${this.name} did not answer`)
        if (share.strategy !== 'best-effort') throw error
        this.vms.delete(vm.name)
        run.missing.set(vm.name, error.message)
      }
      if (up.length === 0) throw new VmrmError('vm-boot-timeout', `node ${this.name} has no VM`)
      return up
    }
    return {
      make: this.#alive(make),
      adopt: this.#alive(async (run, share) => {
        const missing = new Set(run.entry.missing?.map(({ vm }) => vm))
        const made = share.vms.filter(({ name }) => !missing.has(name))
        const isThere = ({ name }: { name: string }) => this.vms.has(name)
        const gone = made.filter((vm) => !isThere(vm)).map(({ name }) => name)
        const error = (vm: string) => new VmrmError('vm-lost', `VM ${vm} ended while vmrmd was down`)
        return { there: made.filter(isThere).map(live), gone: gone.map((vm) => ({ vm, error: error(vm) })) }
      }),
      remove: this.#alive(async (entry) => {
        await clock.delay(random.int(500))
        this.#removeVms(runId(entry), 'asked')
        return { peakMemoryBytes: 1, cpuTimeNs: 1 }
      }),
      destroyVm: this.#alive(async (vm) => void this.vms.delete(vm)),
      removeStrays: this.#alive(async (known) => {
        for (const run of new Set(this.vms.values())) if (!known.hasRun(run)) this.#removeVms(run, 'stray')
      }),
      consoleTail: async () => '',
    }
  }

  #removeVms(run: string, why: 'asked' | 'stray'): void {
    const mine = [...this.vms].filter(([, owner]) => owner === run)
    for (const [vm] of mine) this.vms.delete(vm)
    if (mine.length > 0) this.#options.watch.removed(this.name, run, why)
  }
}
