// One seeded history: jobs and batches with VMs on some nodes, daemons and machines that die and come back, hooks that come twice, late or
// never, a network that loses messages. Throws what is wrong, at the moment it goes wrong.
import assert from 'node:assert/strict'
import type { JournalEntry } from '../../lib/daemon/node/runs/journal.ts'
import type { Strategy } from '../../lib/job/decision.ts'
import { isBatch, parseRunId, type Run, runId, vmName } from '../../lib/job/run.ts'
import { createRandom, type Random } from '../support/random.ts'
import { LossyNetwork, noFaults } from './lossy-network.ts'
import { type JobShape, SimController } from './messages-controller.ts'
import { SimNode } from './messages-node.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface History {
  readonly steps: number
  readonly sent: number
  readonly lost: number
  readonly twice: number
  /** Writes to the ledger that failed. */
  readonly refused: number
  /** How many runs came to each state. */
  readonly states: Readonly<Record<string, number>>
}

const busyMs = 90_000
/** Everything that waits gives up or is repeated within this. */
const quietMs = 400_000

export async function playHistory(seed: number): Promise<History> {
  const clock = new VirtualClock()
  clock.install()
  try {
    return await new World(seed, clock).play()
  } finally {
    clock.uninstall()
  }
}

class World {
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #network: LossyNetwork
  readonly #nodes = new Map<string, SimNode>()
  readonly #controller: SimController
  readonly #shapes = new Map<number, JobShape>()
  /** By name. */
  readonly #batches = new Map<string, JobShape>()
  readonly #destroyed = new Set<string>()
  readonly #decided = new Map<string, string[]>()
  readonly #prepared = new Set<string>()
  readonly #violations: string[] = []

  constructor(seed: number, clock: VirtualClock) {
    this.#clock = clock
    this.#random = createRandom(seed)
    const { int } = this.#random
    const faults = { lostPercent: int(25), twicePercent: int(25), latestMs: int(6000) }
    this.#network = new LossyNetwork({ clock, random: this.#random, faults })
    this.#controller = new SimController({
      ...{ clock, random: this.#random, nodes: this.#nodes },
      shapeOf: (run, batch) => (this.#shapes.get(run.job) ?? this.#batches.get(batch ?? '')) as JobShape,
      decided: (run, state, code) => this.#onDecision(run, state, code),
      freed: (run) => this.#onFreed(run),
    })
    for (let at = 1; at <= 2 + int(3); at += 1) this.#addNode(`n${at}`)
  }

  async play(): Promise<History> {
    const jobs = 2 + this.#random.int(5)
    for (let job = 1; job <= jobs; job += 1) void this.#live(job)
    for (let batch = this.#random.int(3); batch > 0; batch -= 1) void this.#liveBatch(`batch-${batch}`)
    for (let fault = this.#random.int(8); fault > 0; fault -= 1) void this.#disturb()
    await this.#clock.runUntil(busyMs, () => this.#check())
    this.#network.faults = noFaults
    for (let untilMs = busyMs; untilMs < busyMs + quietMs && !this.#isOver(); ) {
      untilMs += 10_000
      await this.#clock.runUntil(untilMs, () => this.#check())
    }
    this.#checkEnd()
    const { sent, lost, twice } = this.#network
    const states: Record<string, number> = {}
    for (const [run, each] of this.#decided)
      for (const state of each) {
        const name = run.startsWith('b') ? `batch-${state}` : state
        states[name] = (states[name] ?? 0) + 1
      }
    return { steps: this.#clock.steps, sent, lost, twice, refused: this.#controller.disk.refused, states }
  }

  /** A job as Slurm handles it: its hooks, with what may go wrong with hooks. */
  async #live(job: number): Promise<void> {
    const { int, pick } = this.#random
    const { slurm } = this.#controller
    const names = [...this.#nodes.keys()].filter(() => int(3) > 0)
    const nodes = names.length === 0 ? ['n1'] : names
    const strategy = pick<Strategy>(['all-or-nothing', 'all-or-nothing', 'best-effort'])
    this.#shapes.set(job, { nodes, perNode: 1 + int(3), strategy })
    const run = { job, restart: 0 }
    await this.#clock.delay(int(20_000))
    slurm.states.set(job, 'active')
    const owner = { uid: 2001, gid: 2001, user: 'alice' }
    const request = { image: 'tiny', perNode: 1, script: 'guest' } as const
    const whole = {
      ...run,
      ...owner,
      account: '',
      partition: '',
      nodes: nodes.join(','),
      selector: String(job),
      request,
    }
    void this.#hook(() => this.#begin(whole))
    await this.#clock.delay(int(500))
    for (const name of nodes)
      void this.#hook(() => this.#nodeOf(name).call((of) => of['node-prepare']({ ...run, ...owner, request }), 75_000))
    // The job runs, or is cancelled before that.
    await this.#clock.delay(int(40_000))
    slurm.states.set(job, 'completing')
    // Every fifth hook of an end never comes: then the reconciler is alone.
    if (int(5) > 0) void this.#hook(() => this.#end(run))
    await Promise.all(
      nodes.map(async (name) => {
        await this.#clock.delay(int(3000))
        if (int(5) > 0) await this.#hook(() => this.#nodeOf(name).call((of) => of['node-end'](run), 120_000))
      }),
    )
    slurm.states.set(job, 'ended')
  }

  /** A batch as an administrator's program handles it: it asks until it is answered, and after its end sometimes once more. */
  async #liveBatch(name: string): Promise<void> {
    const { int, pick } = this.#random
    const names = [...this.#nodes.keys()].filter(() => int(3) > 0)
    const nodes = names.length === 0 ? ['n1'] : names
    const strategy = pick<Strategy>(['all-or-nothing', 'all-or-nothing', 'best-effort'])
    this.#batches.set(name, { nodes, perNode: 1 + int(3), strategy })
    const account = { name: 'alice', uid: 2001, gid: 2001, gecos: '', home: '/', shell: '/bin/sh', groups: [] }
    const request = { name, image: 'tiny', nodes: nodes.join(','), perNode: 1, cpus: 1, memoryMib: 100 }
    const numbers = new Set<number>()
    await this.#clock.delay(int(20_000))
    await this.#hook(async () => numbers.add((await this.#toController((of) => of.create(request, account))).batch))
    if (int(2) > 0)
      await this.#hook(async () => numbers.add((await this.#toController((of) => of.create(request, account))).batch))
    if (numbers.size > 1) this.#wrong(`${name} is ${[...numbers].join(' and ')}`)
    await this.#clock.delay(int(40_000))
    this.#destroyed.add(name)
    await this.#hook(() => this.#toController(async (of) => of.destroy({ name })))
    // What was lost on the way is said again until the network is well; nobody else ends a batch.
    setInterval(() => {
      const known = this.#controller.ledger.batchNamed(name)
      if (known !== undefined && this.#controller.isUp()) this.#controller.batches.destroy({ name }).catch(() => {})
    }, 50_000)
  }

  #toController<T>(work: (of: SimController['batches']) => Promise<T>): Promise<T> {
    const controller = this.#controller
    return this.#network.call<T>(() => (controller.isUp() ? work(controller.batches) : new Promise(() => {})))
  }

  /** Sends until it is answered, as a hook does while its daemon is away; sometimes the whole hook comes a second time. */
  async #hook(send: () => Promise<unknown>): Promise<void> {
    for (let attempt = 0; attempt < 6; attempt += 1) {
      const isDone = await send().then(
        () => true,
        () => false,
      )
      if (isDone) break
      await this.#clock.delay(250)
    }
    if (this.#random.int(8) === 0)
      await this.#clock
        .delay(this.#random.int(20_000))
        .then(send)
        .catch(() => {})
  }

  #begin(request: Parameters<SimController['handlers']['run-begin']>[0]): Promise<unknown> {
    const { isUp, handlers } = { isUp: this.#controller.isUp(), handlers: this.#controller.handlers }
    return this.#network.call<unknown>(() => (isUp ? handlers['run-begin'](request) : new Promise(() => {})))
  }

  #end(run: Run): Promise<unknown> {
    const controller = this.#controller
    return this.#network.call<unknown>(() =>
      controller.isUp() ? controller.handlers['run-end'](run) : new Promise(() => {}),
    )
  }

  /** One fault at a random moment. What dies comes back. */
  async #disturb(): Promise<void> {
    const { int, pick } = this.#random
    await this.#clock.delay(int(60_000))
    const node = pick([...this.#nodes.values()])
    const kind = pick(['controller', 'daemon', 'daemon', 'power', 'vm', 'vm', 'full', 'node-full'] as const)
    if (kind === 'vm') {
      const vms = [...node.vms.keys()]
      // There are fewer batches than jobs.
      for (const some of [vms, vms.filter((name) => name.startsWith('b'))])
        if (some.length > 0) node.crashVm(pick(some))
      return
    }
    if (kind === 'full') {
      const { disk } = this.#controller
      disk.state = 'full'
      await this.#clock.delay(int(30_000))
      disk.state = 'well'
      return
    }
    if (kind === 'node-full') {
      node.disk = 'full'
      await this.#clock.delay(int(30_000))
      node.disk = 'well'
      return
    }
    if (kind === 'controller') {
      if (!this.#controller.isUp()) return
      this.#controller.die()
      await this.#clock.delay(int(15_000))
      this.#controller.start()
      return
    }
    if (!node.isUp()) return
    node.die(kind)
    await this.#clock.delay(int(30_000))
    await node.start()
  }

  #nodeOf(name: string): SimNode {
    return this.#nodes.get(name) as SimNode
  }

  #addNode(name: string): void {
    const node = new SimNode({
      ...{ name, clock: this.#clock, network: this.#network, random: this.#random },
      controller: () => this.#controller,
      watch: {
        journaled: (at, entry) => this.#onJournal(at, entry),
        removed: (at, run, why) => this.#onRemoved(at, run, why),
      },
    })
    this.#nodes.set(name, node)
    setInterval(() => {
      if (node.isUp()) void node.runs.reconcile().catch(() => {})
    }, 5000)
  }

  #shapeOf(run: Run): JobShape | undefined {
    return this.#shapes.get(run.job) ?? this.#batches.get(this.#controller.ledger.batchOf(run)?.name ?? '')
  }

  #historyOf(run: Run): readonly string[] {
    return this.#decided.get(runId(run)) ?? []
  }

  #onDecision(run: Run, state: string, code?: string): void {
    const history = this.#historyOf(run)
    if (state === 'committed' && history.includes('aborted')) this.#wrong(`${runId(run)} is committed after its abort`)
    if (state === 'aborted' && history.includes('committed')) this.#wrong(`${runId(run)} is aborted after its commit`)
    const shape = this.#shapeOf(run)
    const unprepared = shape?.nodes.filter((node) => !this.#prepared.has(`${node} ${runId(run)}`)) ?? []
    if (state === 'committed' && shape?.strategy === 'all-or-nothing' && unprepared.length > 0)
      this.#wrong(`${runId(run)} is committed though ${unprepared.join(', ')} was never prepared`)
    if (state === 'aborted' && code !== 'internal' && this.#mayBegin(run))
      this.#wrong(`${runId(run)} is aborted (${code}) though best-effort has its first VM`)
    this.#decided.set(runId(run), [...history, state])
  }

  /** A best-effort batch of whose first node the controller has heard that it is ready, with the first VM: only a restart of the controller's aborts it. */
  #mayBegin(run: Run): boolean {
    const { ledger } = this.#controller
    const { plan } = ledger.find(run) ?? {}
    if (!isBatch(run) || plan?.strategy !== 'best-effort') return false
    const share = ledger.shares(run).find(({ node }) => node === plan.nodes[0]?.node)
    return share?.state === 'prepared' && !share.missing.some(({ vm }) => vm === vmName(run, 0))
  }

  /** A node decides nothing alone, and an all-or-nothing run is prepared with every VM there. */
  #onJournal(name: string, entry: JournalEntry): void {
    const { state, share, missing = [] } = entry
    if (state === 'committed' && !this.#historyOf(entry).includes('committed'))
      this.#wrong(`${name} has committed ${runId(entry)} alone`)
    const isKnown = this.#prepared.has(`${name} ${runId(entry)}`)
    // A batch goes on without what it has lost since.
    if (state !== 'prepared' || (isKnown && isBatch(entry))) return
    this.#prepared.add(`${name} ${runId(entry)}`)
    if (share?.strategy !== 'best-effort' && missing.length > 0)
      this.#wrong(`${name} prepared ${runId(entry)} without a VM`)
  }

  /** Leases are another run's from now on: nothing of this run may be there, nor come. */
  #onFreed(run: Run): void {
    if (this.#historyOf(run).some((state) => state.startsWith('ended'))) this.#wrong(`${runId(run)} is freed twice`)
    for (const node of this.#nodes.values())
      for (const [vm, owner] of node.vms)
        if (owner === runId(run)) this.#wrong(`${vm} is on ${node.name} when its leases are freed`)
  }

  #onRemoved(name: string, run: string, why: 'asked' | 'stray'): void {
    const of = parseRunId(run) as Run
    const history = this.#historyOf(of)
    const goesOn = isBatch(of) ? ['committed', 'lost'] : ['committed']
    const isOver = history.some((state) => !goesOn.includes(state))
    const entry = this.#nodes.get(name)?.journal.get(run)
    if (why === 'stray' && entry !== undefined && ['prepared', 'committed'].includes(entry.state))
      this.#wrong(`${name} removed VMs of ${run} as strays`)
    const inSlurm = this.#controller.slurm.states.get(of.job) ?? 'ended'
    const batch = this.#controller.ledger.batchOf(of)?.name ?? ''
    const isEnded = isBatch(of) ? this.#destroyed.has(batch) : ['completing', 'ended'].includes(inSlurm)
    if (entry?.state === 'committed' && !isOver && !isEnded) this.#wrong(`${name} removed VMs of ${run}, which runs`)
  }

  #wrong(what: string): void {
    this.#violations.push(`at ${this.#clock.nowMs} ms: ${what}`)
  }

  #check(): void {
    if (this.#violations.length > 0) assert.fail(this.#violations.join('; '))
  }

  #isOver(): boolean {
    const { ledger } = this.#controller
    const isEmpty = [...this.#nodes.values()].every(({ vms, journal }) => vms.size + journal.size === 0)
    return isEmpty && ledger.inState('preparing', 'committed', 'aborted', 'lost', 'ending').length === 0
  }

  #checkEnd(): void {
    this.#check()
    const { ledger } = this.#controller
    const open = ledger.inState('preparing', 'committed', 'aborted', 'lost', 'ending')
    assert.deepEqual(
      open.map((run) => `${runId(run)} ${run.state}`),
      [],
      'every run is over',
    )
    assert.equal(ledger.leaseCount(), 0, 'every lease is free')
    for (const node of this.#nodes.values()) {
      assert.deepEqual([...node.vms.keys()], [], `no VM is left on ${node.name}`)
      assert.deepEqual([...node.journal.keys()], [], `no journal is left on ${node.name}`)
    }
  }
}
