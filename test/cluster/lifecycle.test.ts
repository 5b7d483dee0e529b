// up, down, status and what happens in between when something dies. On a cluster of its own, so that no other test notices.
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { clusterCommand, openCluster } from '../support/cluster.ts'
import { defaultSettings } from './layout.ts'
import { machineState } from './machine-state.ts'
import { runningHosts } from './namespaces.ts'
import { namespaceOf } from './procfs.ts'
import { currentLayout } from './state.ts'
import type { HostStatus } from './status.ts'
import { waitFor } from './wait.ts'

const folder = mkdtempSync(join(tmpdir(), 'vmrm-lifecycle-'))
process.env.VMRM_CLUSTER_DIR = folder
const script = join(import.meta.dirname, 'cluster')
t.setTimeout(240_000)

async function status(): Promise<HostStatus[]> {
  const result = await execa(script, ['status', '--json'], { reject: false })
  return JSON.parse(result.stdout) as HostStatus[]
}

const up = (...options: string[]): Promise<string> => clusterCommand(['up', '--no-vmrm', ...options])

const nothing = { processes: [], pidNamespaces: [], mounts: [], cgroups: [], files: [] }

t.test('the cluster', { timeout: 240_000 }, async (t) => {
  t.teardown(async () => {
    await clusterCommand(['down'])
    rmSync(folder, { recursive: true, force: true })
  })
  const devices = (await execa('ip', ['-brief', 'link'])).stdout.split('\n').map((line) => line.split(/[\s@]/)[0])
  const machineFiles = ['/etc/passwd', '/etc/group', '/etc/hosts'].map((path) => readFileSync(path, 'utf8'))
  let spaces: string[] = []

  await t.test('comes up within 15 s and says so', async (t) => {
    const start = performance.now()
    t.match(await up(), /the cluster is up: ctl n1 n2/)
    t.ok(performance.now() - start < 15_000)
    const layout = openCluster().layout
    spaces = [...runningHosts(layout).values()].map((host) => namespaceOf(host.init.pid, 'pid') ?? '')
    t.equal(spaces.length, 3)
  })

  await t.test('runs every daemon of every host', async (t) => {
    const found = await status()
    t.same(
      found.map((host) => [host.name, Object.keys(host.daemons)]),
      [
        ['ctl', ['munged', 'slurmctld']],
        ['n1', ['munged', 'libvirtd', 'ganesha', 'slurmd']],
        ['n2', ['munged', 'libvirtd', 'ganesha', 'slurmd']],
      ],
    )
    t.ok(found.every((host) => host.init !== null && Object.values(host.daemons).every((pid) => pid !== null)))
    const shown = await execa(script, ['status'])
    t.match(shown.stdout, /main\*.*idle n\[1-2\]/)
  })

  await t.test('leaves the machine itself alone', async (t) => {
    const layout = openCluster().layout
    const state = await machineState(layout)
    t.same(state.networkDevices, devices.toSorted())
    t.same(state.mounts, [])
    t.same(
      ['/etc/passwd', '/etc/group', '/etc/hosts'].map((path) => readFileSync(path, 'utf8')),
      machineFiles,
    )
  })

  await t.test('is left as it is by a second up', async (t) => {
    const before = await status()
    t.match(await up(), /was up already/)
    t.same(await status(), before)
  })

  await t.test('refuses another shape while it is up', async (t) => {
    await t.rejects(up('--nodes', '3'), /take it down first/)
  })

  await t.test('gets a daemon back that was killed', async (t) => {
    const pid = (await status()).find((host) => host.name === 'n1')?.daemons.slurmd ?? 0
    process.kill(pid, 'SIGKILL')
    t.ok(await waitFor(async () => (await status())[1]?.daemons.slurmd === null, { timeoutMs: 5000 }))
    t.equal((await execa(script, ['status'], { reject: false })).exitCode, 3)
    t.match(await up(), /is up again/)
    t.not((await status())[1]?.daemons.slurmd, null)
  })

  await t.test('lets a test stop and start one daemon', async (t) => {
    const cluster = openCluster()
    await cluster.daemon('stop', 'n2', 'libvirtd')
    t.equal((await status())[2]?.daemons.libvirtd, null)
    await cluster.daemon('start', 'n2', 'libvirtd')
    const list = await cluster.run(['virsh', '-c', 'qemu:///system', 'list', '--all', '--name'], { node: 'n2' })
    t.match(list, { exitCode: 0, stdout: /^\s*$/ })
  })

  await t.test('survives the loss of a node, which boots again with what it had on disk', async (t) => {
    const cluster = openCluster()
    await cluster.run(['sh', '-c', 'echo kept >/var/lib/vmrm/kept; echo lost >/run/lost'], { node: 'n2' })
    const init = (await status())[2]?.init ?? 0
    process.kill(init, 'SIGKILL')
    t.ok(await waitFor(async () => (await status())[2]?.init === null, { timeoutMs: 5000 }))
    t.match(await up(), /is up again/)
    const found = await cluster.run(['sh', '-c', 'cat /var/lib/vmrm/kept; test ! -e /run/lost'], { node: 'n2' })
    t.match(found, { exitCode: 0, stdout: 'kept\n' })
    await cluster.waitUntilIdle()
  })

  await t.test('survives the loss of the controller, and with it of the network', async (t) => {
    const cluster = openCluster()
    await cluster.crash('ctl')
    t.match(await up(), /is up again/)
    await cluster.waitUntilIdle()
    t.match(await cluster.run(['srun', '-N2', '-l', 'hostname']), { exitCode: 0 })
  })

  await t.test('goes down without a trace while a job runs and a node is dead', async (t) => {
    const cluster = openCluster()
    const job = await cluster.run(['sbatch', '--parsable', '--wrap', 'sleep 600'], { user: 'alice' })
    t.equal(job.exitCode, 0)
    process.kill((await status())[1]?.init ?? 0, 'SIGKILL')
    t.match(await clusterCommand(['down']), /the cluster is down/)
    const state = await machineState(cluster.layout, spaces)
    t.same(state, { ...nothing, networkDevices: devices.toSorted() })
    t.ok(statSync(join(folder, 'log/n2')).isDirectory(), 'but for its logs')
  })

  await t.test('may be taken down twice', async (t) => {
    t.match(await clusterCommand(['down']), /was down already/)
    t.equal((await execa(script, ['status'], { reject: false })).exitCode, 3)
    t.equal((await execa(script, ['run', '--', 'true'], { reject: false })).exitCode, 2)
  })

  await t.test('is taken down after an up that was killed at any moment', async (t) => {
    for (const afterMs of [150, 250, 400, 600, 900]) {
      await execa(script, ['up', '--no-vmrm'], { reject: false, timeout: afterMs, killSignal: 'SIGKILL' })
      await clusterCommand(['down'])
      const layout = currentLayout(defaultSettings)
      const state = await machineState(layout)
      t.same(state, { ...nothing, networkDevices: devices.toSorted() }, `killed after ${afterMs} ms`)
    }
  })

  await t.test('comes up again from nothing, with another shape', async (t) => {
    t.match(await up('--nodes', '1', '--cpus', '2', '--memory', '1000', '--accounting'), /the cluster is up: ctl n1,/)
    const shape = await openCluster().run(['sinfo', '-h', '-p', 'main', '-o', '%D %c %m'])
    t.equal(shape.stdout, '1 2 1000\n')
    t.same(Object.keys((await status())[0]?.daemons ?? {}), ['munged', 'mariadbd', 'slurmdbd', 'slurmctld'])
  })

  await t.test('keeps account of jobs where it was asked to, and takes it down with everything else', async (t) => {
    const cluster = openCluster()
    const script = ['srun', '--account=chemistry', 'sh', '-c', 'exit 3']
    t.equal((await cluster.run(script, { user: 'alice' })).exitCode, 3)
    const sacct = ['sacct', '--noheader', '--parsable2', '--format=Account,State,ExitCode,NTasks']
    const wanted = 'chemistry|FAILED|3:0|\nchemistry|FAILED|3:0|1\n'
    const found = async () => (await cluster.run(sacct, { user: 'alice' })).stdout === wanted
    t.ok(await waitFor(found, { timeoutMs: 10_000 }), 'the job and its step are there')
    await clusterCommand(['down'])
    t.same(await machineState(cluster.layout), { ...nothing, networkDevices: devices.toSorted() })
  })
})
