// Templates and clones as a node makes them, with a hypervisor in memory and agents that answer.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { daemonConfigSchema } from '../../../../lib/config/daemon-schema.ts'
import { type Image, imageSchema } from '../../../../lib/config/image-schema.ts'
import { type JournalEntry, openJournal } from '../../../../lib/daemon/node/runs/journal.ts'
import { LiveRun, type LiveVm } from '../../../../lib/daemon/node/runs/live-run.ts'
import { createCloneSources } from '../../../../lib/daemon/node/templates/clone-sources.ts'
import { TemplateStore } from '../../../../lib/daemon/node/templates/store.ts'
import { createTemplateVm } from '../../../../lib/daemon/node/templates/template-vm.ts'
import { Templates } from '../../../../lib/daemon/node/templates/templates.ts'
import { createRunCgroups } from '../../../../lib/daemon/node/vms/run-cgroups.ts'
import { createVmMaker } from '../../../../lib/daemon/node/vms/vm-maker.ts'
import { createVmStarter } from '../../../../lib/daemon/node/vms/vm-starter.ts'
import { createSemaphore } from '../../../../lib/daemon/semaphore.ts'
import { vmName } from '../../../../lib/job/run.ts'
import { createLog } from '../../../../lib/log.ts'
import type { Share } from '../../../../lib/protocol/messages/share.ts'
import { FakeGuests } from '../../../fakes/agents.ts'
import { shareFor } from '../../../fakes/controller-link.ts'

/** Clones that take their identities at the same time. */
const atOnce = Math.max(4, availableParallelism())
const never = new AbortController().signal

function imageIn(folder: string, changes: object = {}): Image {
  return imageSchema.parse({
    ...{ version: '1', name: 'tiny', revision: '1' },
    os: { family: 'linux', agent: 'builtin' },
    master: { path: join(folder, 'master'), format: 'raw' },
    boot: { kind: 'direct', kernel: join(folder, 'kernel'), timeoutSeconds: 20 },
    hostnames: { range: 'tiny-[1-9]' },
    network: { kind: 'private', addresses: '10.77.0.0/16' },
    access: { policy: 'all' },
    limits: { maxMemoryMib: 4096, maxCpus: 8 },
    ...changes,
  })
}

/** A node; a second `start` on it is a restart of its daemon. Sockets have short names, so it lies in /tmp. */
function openNode(t: Test, settings: { image?: object; maxMib?: number } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-clones-'))
  for (const name of ['runs', 'images.d']) mkdirSync(join(folder, name))
  for (const name of ['master', 'kernel']) writeFileSync(join(folder, name), name.repeat(512))
  const hypervisor = new FakeGuests()
  t.teardown(async () => {
    await hypervisor.close()
    rmSync(folder, { recursive: true })
  })
  const config = daemonConfigSchema.parse({
    ...{ version: '1', cluster: { name: 'test' }, controller: { host: 'ctl' } },
    paths: { runs: join(folder, 'runs'), templates: join(folder, 'templates'), images: join(folder, 'images.d') },
    hypervisor: { cgroups: 'libvirt' },
    templates: { maxMib: settings.maxMib ?? 1024 },
  })
  const image = imageIn(folder, settings.image)
  const taps = new Set<string>()
  const lines: string[] = []
  const log = createLog({ level: 'info', write: (line) => lines.push(line.replace(/^\S+ \S+ /, '')) })
  const start = async () => {
    const now = () => Date.now()
    const store = new TemplateStore({ folder: config.paths.templates, log, now })
    await store.load()
    const machine = { config, accelerator: 'qemu', qemuGid: 1 } as const
    const admission = createSemaphore(4)
    const vm = createTemplateVm({
      ...{ config, hypervisor, admission, log },
      taps: {
        add: async (name) => void taps.add(name),
        remove: async (name) => void taps.delete(name),
        list: async () => [...taps],
      },
    })
    const images = new Map([[image.name, image]])
    const templates = new Templates({
      ...{ config, store, vm, machine, log, now, images: () => images },
      hypervisorVersion: () => hypervisor.version(),
      usedUids: () => [600_000 + 4095],
    })
    const journal = openJournal({ runsFolder: config.paths.runs, log })
    const machineCpus = () => undefined
    const cgroups = createRunCgroups({ config, machineCpus, log })
    const starter = createVmStarter({
      ...{ config, journal, hypervisor, cgroups, admission, log, accelerator: 'qemu', qemuGid: 1 },
      ...{ node: 'n1', commands: [] },
    })
    const maker = createVmMaker({
      catalogue: { images: () => images, problems: () => [], fileOf: (name) => name },
      ...{ hypervisor, cgroups, starter, log, exports: undefined },
      networks: { plan: () => ({}) as never, setUp: async () => {}, tearDown: async () => {}, list: async () => [] },
      cloneSources: createCloneSources({ templates, journal, machineCpus, qemuGid: 1, log }),
      requireParts: async () => {},
      lookUpAccount: async () => ({
        ...{ name: 'alice', uid: 2001, gid: 2001, gecos: '', home: '/home/alice', shell: '/bin/sh', groups: [] },
      }),
    })
    return { store, templates, maker, journal, image }
  }
  /** How many of the log's lines tell of that. */
  const count = (event: string, ...texts: string[]) =>
    lines.filter((line) => line.startsWith(`${event} `) && texts.every((text) => line.includes(text))).length
  return { folder, config, hypervisor, taps, lines, count, start }
}

type Daemon = Awaited<ReturnType<ReturnType<typeof openNode>['start']>>

function shareOf(job: number, vms: number): Share {
  const share = shareFor({ job, restart: 0 })
  const [first] = share.vms
  if (first === undefined) throw new Error('a share without VMs')
  const planned = Array.from({ length: vms }, (_, index) => ({
    ...first,
    ...{ index, name: vmName({ job, restart: 0 }, index), hostname: `tiny-${index}`, vcpus: 1, memoryMib: 64 },
  }))
  return { ...share, image: { name: 'tiny', revision: '1' }, vms: planned }
}

/** All that a Prolog makes. */
async function makeRun(
  daemon: Daemon,
  job: number,
  options: { vms?: number; uid?: number; signal?: AbortSignal } = {},
) {
  const { vms = 1, uid = 2001, signal = never } = options
  const entry: JournalEntry = {
    ...{ version: 1, job, restart: 0, uid, gid: uid, user: 'alice', script: 'guest', qemuUid: 600_000 + job },
    ...{ state: 'preparing', reason: '', beganMs: 0 },
  }
  await daemon.journal.write(entry)
  const made = await daemon.maker.make(new LiveRun(entry, daemon.journal), shareOf(job, vms), signal)
  return { entry, vms: made, end: () => endRun(daemon, entry, made) }
}

async function endRun({ maker }: Daemon, entry: JournalEntry, vms: readonly LiveVm[]): Promise<void> {
  for (const { channel } of vms) channel.close()
  await maker.remove(entry)
}

t.test(
  'one template for all VMs of a run and for the next run; each run has one copy of it, until it ends',
  async (t) => {
    const { hypervisor, config, count, taps, start } = openNode(t)
    const daemon = await start()
    const first = await makeRun(daemon, 1, { vms: 5 })
    t.equal(count('template.made'), 1)
    t.equal(count('vm.ready', 'how=clone'), 5)
    const [template] = daemon.store.all()
    t.match(template, { subject: { image: 'tiny', vcpus: 1, memoryMib: 64 }, uses: 1 })
    const specs = first.vms.map(({ name }) => hypervisor.specOf(name))
    const paths = new Set(specs.map((spec) => spec?.memory?.path))
    t.equal(paths.size, 1, 'the run has one copy of the memory')
    const copy = join(config.paths.runs, 'j1r0', `template-${template?.key}`)
    t.same([...paths], [join(copy, 'ram')])
    t.equal(statSync(join(copy, 'ram')).uid, 600_001, "it is the run's own")
    t.not(statSync(join(copy, 'ram')).ino, statSync(template?.files.ram ?? '').ino)
    for (const spec of specs) t.match(spec?.overlay, { backingPath: join(copy, 'disk.qcow2'), backingFormat: 'qcow2' })

    const second = await makeRun(daemon, 2, { vms: 2 })
    t.equal(count('template.made'), 1)
    t.equal(count('vm.ready', 'how=clone'), 7)
    t.equal(daemon.store.all()[0]?.uses, 2)
    await first.end()
    t.same(readdirSync(join(config.paths.runs, 'j1r0')), ['journal.json'])
    await second.end()
    t.same(await hypervisor.list(), [])
    t.same([...taps], [])
    t.same(readdirSync(config.paths.templates), [template?.key], 'and nothing else is left')
  },
)

t.test('two runs that begin at the same time wait for one making, and one that gives up stops nothing', async (t) => {
  const { hypervisor, count, start } = openNode(t)
  const daemon = await start()
  const release = hypervisor.hold()
  const stop = new AbortController()
  const cancelled = makeRun(daemon, 3, { signal: stop.signal })
  const runs = [makeRun(daemon, 1), makeRun(daemon, 2)]
  stop.abort(new Error('cancelled'))
  release()
  await t.rejects(cancelled, { message: 'cancelled' })
  for (const run of await Promise.all(runs)) await run.end()
  t.equal(count('template.making'), 1)
  t.equal(count('vm.ready', 'how=clone'), 2)
})

t.test('what nobody waits for any more is not made, and whoever comes then has it made', async (t) => {
  const { hypervisor, config, taps, count, start } = openNode(t)
  const daemon = await start()
  const stop = new AbortController()
  const resume = hypervisor.resume.bind(hypervisor)
  hypervisor.resume = async (name, options) => {
    hypervisor.resume = resume
    stop.abort(new Error('cancelled'))
    await resume(name, options)
  }
  await t.rejects(makeRun(daemon, 1, { signal: stop.signal }), { message: 'cancelled' })
  await (await makeRun(daemon, 2)).end()
  t.equal(count('template.making'), 2)
  t.equal(count('template.made'), 1)
  t.equal(count('vm.ready', 'how=clone'), 1)
  t.same([[...taps], await hypervisor.list()], [[], []])
  t.same(readdirSync(config.paths.templates), [daemon.store.all()[0]?.key])
})

t.test(
  'a template that cannot be made is told of once, tried again by nobody for a while, and leaves nothing',
  async (t) => {
    const { hypervisor, config, taps, lines, count, start } = openNode(t)
    const daemon = await start()
    hypervisor.complaint = (_, request) => (request === 'template' ? 'no module for that' : undefined)
    for (const job of [1, 2, 3]) await (await makeRun(daemon, job, { vms: 2 })).end()
    t.equal(count('template.failed', 'template-failed', 'no module for that'), 1)
    t.equal(count('vm.ready', 'how=boot'), 6)
    t.equal(count('run.boots'), 3)
    t.same([readdirSync(config.paths.templates), [...taps], await hypervisor.list()], [[], [], []])
    hypervisor.complaint = () => undefined
    t.same(await daemon.templates.forget(undefined), { removed: 0, held: 0 })
    await (await makeRun(daemon, 4)).end()
    t.equal(count('vm.ready', 'how=clone'), 1, 'an administrator can have it tried again')
    t.same(
      lines.filter((line) => line.includes('internal')),
      [],
    )
  },
)

for (const [what, spoil] of [
  ['whose QEMU ends', (hypervisor: FakeGuests) => hypervisor.refuseLoad('j1r0v1', true)],
  [
    'that cannot take its identity',
    (hypervisor: FakeGuests) => {
      hypervisor.complaint = (spec, request) =>
        request === 'identity' && spec.name === 'j1r0v1' && spec.memory !== undefined ? 'no such card' : undefined
    },
  ],
] as const) {
  t.test(`a clone ${what} is booted, once, the run is not lost for it, and its template goes`, async (t) => {
    const { hypervisor, config, count, start } = openNode(t)
    const daemon = await start()
    spoil(hypervisor)
    const run = await makeRun(daemon, 1, { vms: 3 })
    t.equal(run.vms.length, 3)
    t.equal(count('clone.failed', 'vm=j1r0v1'), 1)
    t.equal(count('vm.ready', 'how=clone'), 2)
    t.equal(count('vm.ready', 'vm=j1r0v1', 'how=boot'), 1)
    t.equal(hypervisor.specOf('j1r0v1')?.memory, undefined)
    t.equal(count('template.distrusted'), 1)
    t.same(readdirSync(config.paths.templates), [])
    await run.end()
  })
}

t.test('clones take their identities in turn, so that many on few CPUs are not all late', async (t) => {
  const { hypervisor, start } = openNode(t)
  const daemon = await start()
  const awake = new Set<string>()
  let most = 0
  const resume = hypervisor.resume.bind(hypervisor)
  hypervisor.resume = async (name, options) => {
    awake.add(name)
    most = Math.max(most, awake.size)
    await resume(name, options)
  }
  hypervisor.complaint = (spec, request) => {
    if (request === 'identity' || spec.memory?.kind === 'template') awake.delete(spec.name)
    return undefined
  }
  const run = await makeRun(daemon, 1, { vms: atOnce * 3 })
  t.equal(run.vms.length, atOnce * 3)
  t.ok(most >= 1 && most <= atOnce, `${most} were awake without an identity`)
  await run.end()
})

t.test('when a clone does not answer, those that have waited for it boot at once', async (t) => {
  const { hypervisor, count, start } = openNode(t)
  const daemon = await start()
  hypervisor.isSilent = ({ memory }) => memory?.kind === 'clone'
  const run = await makeRun(daemon, 1, { vms: atOnce + 2 })
  t.equal(count('vm.ready', 'how=boot'), atOnce + 2)
  t.equal(count('clone.failed', 'did not answer within 15 s'), atOnce)
  t.equal(count('clone.failed', 'other clones of its template did not answer in time'), 2)
  t.equal(hypervisor.calls.filter((call) => call.startsWith('start j1r0v')).length, 2 * atOnce + 2)
  await run.end()
})

t.test(
  'a clone that fails and does not boot either is the failure of its run, and no fault of its template',
  async (t) => {
    const { hypervisor, count, start } = openNode(t)
    const daemon = await start()
    hypervisor.complaint = (_, request) => (request === 'identity' ? 'the mount is not there' : undefined)
    await t.rejects(makeRun(daemon, 1), { code: 'identity-failed', quoted: /the mount is not there/ })
    t.equal(count('clone.failed'), 1)
    t.equal(count('template.distrusted'), 0)
    t.equal(daemon.store.all().length, 1)
  },
)

for (const [what, settings, why] of [
  ['whose image says never', { image: { template: { use: 'never' } } }, /says .*never/],
  ['on a node that keeps none', { maxMib: 0 }, /max-mib is 0/],
  [
    'with a device of the site that has state of its own',
    { image: { domain: '<domain><devices><tpm model="tpm-crb"/></devices></domain>' } },
    /<tpm>/,
  ],
] as const) {
  t.test(`a VM ${what} boots, without a try to make a template`, async (t) => {
    const { lines, count, start } = openNode(t, settings)
    const daemon = await start()
    await (await makeRun(daemon, 1)).end()
    t.equal(count('vm.ready', 'how=boot'), 1)
    t.equal(count('template.making'), 0)
    t.match(
      lines.find((line) => line.startsWith('run.boots')),
      why,
    )
    const wish = { image: daemon.image, size: { vcpus: 1, memoryMib: 64 }, uid: 0 }
    await t.rejects(daemon.templates.require(wish, never), { code: 'template-impossible', message: why })
  })
}

t.test('a change of the master makes a new template; the old one is stale, and the first to go', async (t) => {
  const { folder, count, start } = openNode(t)
  const daemon = await start()
  await (await makeRun(daemon, 1)).end()
  writeFileSync(join(folder, 'master'), 'another master'.repeat(512))
  t.match(await daemon.templates.list(), [{ stale: /^master has changed$/ }])
  await (await makeRun(daemon, 2)).end()
  t.equal(count('template.made'), 2)
  const states = (await daemon.templates.list()).map(({ stale }) => stale === undefined)
  t.same(states.sort(), [false, true])
})

t.test('users share templates unless the image says otherwise', async (t) => {
  const own = openNode(t, { image: { template: { sharing: 'user' } } })
  const daemon = await own.start()
  for (const [job, uid] of [
    [1, 2001],
    [2, 2002],
    [3, 2001],
  ] as const)
    await (await makeRun(daemon, job, { uid })).end()
  t.equal(own.count('template.made'), 2)
  t.same(
    daemon.store
      .all()
      .map(({ subject, uses }) => [subject.uid, uses])
      .sort(),
    [
      [2001, 2],
      [2002, 1],
    ],
  )
})

t.test('what a killed daemon was making is gone after its next start, and what it had made is used', async (t) => {
  const { hypervisor, config, taps, count, start } = openNode(t)
  const before = await start()
  await (await makeRun(before, 1)).end()
  const [template] = before.store.all()
  // Left by another making, cut short: a VM, its card, its folder.
  const name = 't0123456789ab'
  const spec = { ...(await strayOf(hypervisor, before)), name, agentSocketPath: join(config.paths.runs, 'x.sock') }
  await hypervisor.startPaused(spec)
  taps.add(`v${name}`)
  mkdirSync(join(config.paths.templates, 'making-0123456789ab0123456789ab'))
  const after = await start()
  // As where libvirtd was away when the making was given up.
  mkdirSync(join(config.paths.templates, 'making-fedcba987654fedcba987654'))
  await after.templates.removeStrays()
  t.same([[...taps], await hypervisor.list()], [[], []])
  t.same(readdirSync(config.paths.templates), [template?.key])
  t.equal(count('stray.template', `vm=${name}`), 1)
  await (await makeRun(after, 2)).end()
  t.equal(count('template.made'), 1)
  t.equal(after.store.find(template?.key ?? '')?.uses, 3)
  t.match(readFileSync(join(template?.files.folder ?? '', 'uses.json'), 'utf8'), /"uses":3/)
})

/** A domain such as a clone's, to be a stray's. */
async function strayOf(hypervisor: FakeGuests, daemon: Daemon) {
  const run = await makeRun(daemon, 9)
  const spec = hypervisor.specOf('j9r0v0')
  await run.end()
  if (spec === undefined) throw new Error('no such VM')
  const { memory: _, ...rest } = spec
  return rest
}

t.test('there is never more than has room, and what is used least goes', async (t) => {
  // Each takes 1 MiB and a little: two have room in 3 MiB.
  const { hypervisor, start } = openNode(t, { maxMib: 3, image: { template: { sharing: 'user' } } })
  const resume = hypervisor.resume.bind(hypervisor)
  hypervisor.resume = async (name, options) => {
    await resume(name, options)
    const memory = hypervisor.specOf(name)?.memory
    if (memory?.kind === 'template') writeFileSync(memory.path, Buffer.alloc(1 << 20, 1), { flag: 'r+' })
  }
  const daemon = await start()
  for (const [job, uid] of [
    [1, 2001],
    [2, 2002],
    [3, 2001],
    [4, 2003],
  ] as const)
    await (await makeRun(daemon, job, { uid })).end()
  await daemon.templates.keepWithinRoom()
  t.same(
    daemon.store
      .all()
      .map(({ subject }) => subject.uid)
      .sort(),
    [2001, 2003],
  )
})
