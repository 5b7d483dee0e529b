import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createRunCgroup, listRunCgroups, openRunCgroup } from '../../lib/vm/cgroup.ts'
import {
  type CgroupHierarchies,
  findCgroups,
  limitWrites,
  parseCpuList,
  unifiedFolders,
} from '../../lib/vm/cgroup-hierarchies.ts'
import { until } from '../support/until.ts'

const parent = `vmrm-test-${process.pid}`
const host = await findCgroups()
const limits = { memoryMib: 256, pidsMax: 100 }
const children: ChildProcess[] = []
t.teardown(async () => {
  for (const child of children) child.kill('SIGKILL')
  for (const run of await listRunCgroups({ parent })) {
    await (await openRunCgroup({ parent, run })).killAndRemove({ timeoutMs: 5_000 })
  }
  removeParent(host)
})

/** No node does it: the parent is the node's. */
function removeParent({ folders }: CgroupHierarchies): void {
  for (const folder of new Set(folders.values())) if (existsSync(join(folder, parent))) rmdirSync(join(folder, parent))
}

/** A shell that waits for a line before it does what it is told. */
function prepare(script: string): {
  pid: number
  go(): void
  output(): string
  ended: Promise<{ code: number | null; signal: string | null }>
} {
  const child = spawn('/bin/sh', ['-c', `read line; ${script}`], { stdio: ['pipe', 'pipe', 'pipe'] })
  children.push(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on('exit', (code, signal) => resolve({ code, signal })),
  )
  return { pid: child.pid ?? 0, go: () => child.stdin.end('\n'), ended, output: () => output }
}

t.test('What runs in a group is held to its memory', async (t) => {
  const { group, skipped } = await createRunCgroup({ parent, run: 'j1r0', limits: { ...limits, memoryMib: 32 } })
  t.same(skipped, [])
  const inside = prepare('exec dd if=/dev/zero of=/dev/null bs=100M count=1')
  await group.add(inside.pid)
  inside.go()
  t.equal((await inside.ended).signal, 'SIGKILL', 'what is over the limit is killed')
  const outside = prepare('exec dd if=/dev/zero of=/dev/null bs=100M count=1')
  outside.go()
  t.equal((await outside.ended).code, 0, 'what is not in the group is not')
  const { peakMemoryBytes = 0, cpuTimeNs = 0 } = await group.usage()
  t.ok(peakMemoryBytes > 30 << 20 && peakMemoryBytes <= 32 << 20, `the peak is kept (${peakMemoryBytes})`)
  t.ok(cpuTimeNs > 0 && cpuTimeNs < 10e9, `so is the CPU time (${cpuTimeNs})`)
  await group.killAndRemove({ timeoutMs: 5_000 })
})

t.test('What runs in a group is held to its number of processes', async (t) => {
  const { group } = await createRunCgroup({ parent, run: 'j2r0', limits: { ...limits, pidsMax: 3 } })
  const inside = prepare('sleep 100 & sleep 100 & sleep 100 & echo never')
  await group.add(inside.pid)
  inside.go()
  t.not((await inside.ended).code, 0)
  await until('the shell complains', () => /fork/.test(inside.output()))
  t.notMatch(inside.output(), /never/)
  t.equal((await group.pids()).length, 2, 'the two that could be made are still there')
  await group.killAndRemove({ timeoutMs: 5_000 })
  t.same(await group.pids(), [])
})

t.test('All threads of a process come along, and keep to the CPUs that there are', async (t) => {
  const { group, skipped } = await createRunCgroup({ parent, run: 'j3r0', limits: { ...limits, cpus: [0, 4095] } })
  t.match(skipped, [/^CPUs 4095: not on this host/])
  const child = spawn(process.execPath, ['-e', 'process.stdout.write("up"); setInterval(() => {}, 1000)'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  children.push(child)
  await new Promise((resolve) => child.stdout.once('data', resolve))
  await group.add(child.pid ?? 0)
  const threads = readdirSync(`/proc/${child.pid}/task`)
  t.ok(threads.length > 1)
  for (const thread of threads) {
    t.match(readFileSync(`/proc/${child.pid}/task/${thread}/cgroup`, 'utf8'), new RegExp(`/${parent}/j3r0$`, 'm'))
    t.match(readFileSync(`/proc/${child.pid}/task/${thread}/status`, 'utf8'), /^Cpus_allowed_list:\t0$/m)
  }
  await group.killAndRemove({ timeoutMs: 5_000 })
  await until('process is gone', () => child.signalCode === 'SIGKILL')
})

t.test('A group is found again by its name, takes other limits, and ends once for all', async (t) => {
  await createRunCgroup({ parent, run: 'j4r0', limits })
  for (const memoryMib of [512, 128])
    t.same((await createRunCgroup({ parent, run: 'j4r0', limits: { ...limits, memoryMib } })).skipped, [])
  t.same(await listRunCgroups({ parent }), ['j4r0'])
  const sleeper = prepare('exec sleep 100')
  const group = await openRunCgroup({ parent, run: 'j4r0' })
  await group.add(sleeper.pid)
  t.same(await group.pids(), [sleeper.pid])
  await group.killAndRemove({ timeoutMs: 5_000 })
  await group.killAndRemove({ timeoutMs: 5_000 })
  t.equal((await sleeper.ended).signal, 'SIGKILL')
  t.same(await listRunCgroups({ parent }), [])
  for (const folder of host.folders.values()) t.notOk(existsSync(join(folder, parent, 'j4r0')), folder)
  t.same(await group.usage(), { peakMemoryBytes: undefined, cpuTimeNs: undefined })
})

t.test(
  'A process that has ended cannot be added, and a group that cannot be removed is told within the bound',
  async (t) => {
    const { group } = await createRunCgroup({ parent, run: 'j5r0', limits })
    await t.rejects(group.add(2 ** 22 - 1), { code: 'vm-lost' })
    await createRunCgroup({ parent: `${parent}`, run: 'j5r0', limits })
    const [folder = ''] = host.folders.values()
    const { mkdirSync, rmdirSync } = await import('node:fs')
    mkdirSync(join(folder, parent, 'j5r0', 'inner'))
    await t.rejects(group.killAndRemove({ timeoutMs: 100 }), { code: 'node-fault', message: /j5r0/ })
    const signal = AbortSignal.abort(new Error('enough'))
    await t.rejects(group.killAndRemove({ timeoutMs: 5_000, signal }), /enough/)
    rmdirSync(join(folder, parent, 'j5r0', 'inner'))
    await group.killAndRemove({ timeoutMs: 5_000 })
  },
)

for (const name of ['..', 'a/b', '', '.']) {
  t.test(`${JSON.stringify(name)} is no name of a group`, async (t) => {
    await t.rejects(openRunCgroup({ parent, run: name }), { code: 'ERR_ASSERTION' })
    await t.rejects(openRunCgroup({ parent: name, run: 'j1r0' }), { code: 'ERR_ASSERTION' })
  })
}

const unified = readFileSync('/proc/self/mountinfo', 'utf8').match(/^\S+ \S+ \S+ \/ (\S+) .* - cgroup2 /m)?.[1]
t.test(
  'A version 2 hierarchy without our controllers groups, counts and kills all the same',
  { skip: unified === undefined },
  async (t) => {
    const hierarchies: CgroupHierarchies = { version: 2, folders: await unifiedFolders(unified ?? '') }
    const { group, skipped } = await createRunCgroup({
      parent,
      run: 'j6r0',
      limits: { ...limits, cpus: [0] },
      hierarchies,
    })
    if (!hierarchies.folders.has('memory')) t.match(skipped, [/memory/, /memory/, /pids/, /cpuset/])
    const worker = prepare('while :; do :; done')
    await group.add(worker.pid)
    worker.go()
    await until('CPU time is counted', async () => ((await group.usage()).cpuTimeNs ?? 0) > 1e6)
    t.same(await group.pids(), [worker.pid])
    await group.killAndRemove({ timeoutMs: 5_000 })
    t.equal((await worker.ended).signal, 'SIGKILL')
    removeParent(hierarchies)
  },
)

const folder = mkdtempSync(join(tmpdir(), 'vmrm-cgroup-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const mountLine = (place: string, type: string, options: string) =>
  `31 23 0:28 / ${place} rw,relatime shared:9 - ${type} ${type} rw,${options}\n`
for (const [what, mounts, expected] of [
  [
    'version 1',
    mountLine('/c/cpu,cpuacct', 'cgroup', 'cpu,cpuacct') +
      mountLine('/c/mem\\040ory', 'cgroup', 'memory') +
      mountLine('/c/u', 'cgroup2', ''),
    { version: 1, memory: '/c/mem ory', cpuacct: '/c/cpu,cpuacct' },
  ],
  [
    'version 2',
    mountLine('/', 'ext4', 'x') + mountLine(folder, 'cgroup2', 'nsdelegate'),
    { version: 2, memory: folder, cpuset: folder, cpuacct: folder },
  ],
  ['none', mountLine('/', 'ext4', 'x'), { version: 2 }],
] as const) {
  t.test(`A host with ${what} is read from its mounts`, async (t) => {
    writeFileSync(join(folder, 'cgroup.controllers'), 'cpuset cpu io memory\n')
    writeFileSync(join(folder, 'mountinfo'), mounts)
    const { version, folders } = await findCgroups(join(folder, 'mountinfo'))
    t.same({ version, ...Object.fromEntries(folders) }, expected)
  })
}

t.test('Limits are written in the order that the kernel takes, for both versions', async (t) => {
  const written = (version: 1 | 2) =>
    limitWrites(version, { memoryMib: 2, pidsMax: 7 }).map(({ file, value }) => `${file}=${value}`)
  t.same(written(2), ['memory.max=2097152', 'memory.swap.max=0', 'pids.max=7'])
  t.same(written(1), [
    'memory.memsw.limit_in_bytes=-1',
    'memory.limit_in_bytes=2097152',
    'memory.memsw.limit_in_bytes=2097152',
    'pids.max=7',
  ])
  t.same(parseCpuList('0-2,5\n'), [0, 1, 2, 5])
  t.same(parseCpuList('\n'), [])
})
