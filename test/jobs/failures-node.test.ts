// What a node loses: libvirtd, its vmrmd, its slurmd, a part of vmrm. A job that runs notices none of it; one that begins
// then runs elsewhere, and vmrm drains the node and resumes it, but never resumes what an administrator has drained.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import { ended, jobOutput, nodeStates, nodesAtRest, submit } from '../support/batch.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'
import { crashDaemon, withTimeouts } from '../support/daemon-faults.ts'
import { until } from '../support/until.ts'

const boundMs = 150_000
const onFirst = ['--vm-image=tiny', '--mem=300', '--nodelist=n1']

async function hasVm(cluster: Cluster, node: string, id: number): Promise<boolean> {
  return (await cluster.run(['virsh', 'list', '--name'], { node })).stdout.includes(`j${id}r0v`)
}

async function untilStates(cluster: Cluster, expected: readonly RegExp[]): Promise<void> {
  let states: readonly string[] = []
  const fits = async () => {
    states = await nodeStates(cluster)
    return expected.every((pattern, at) => pattern.test(states[at] ?? ''))
  }
  await until(`nodes ${expected.join(' ')}`, fits, boundMs).catch((error: Error) => {
    throw new Error(`${error.message}; they are ${states.join(', ')}`)
  })
}

t.test('a job streams on while vmrmd of node and controller are killed and slurmd is restarted', async (t) => {
  await withCluster(t, async (cluster) => {
    const pieceBytes = 3_000_000
    const data = randomBytes(4 * pieceBytes)
    // srun keeps back a line that has not ended.
    for (let end = pieceBytes; end <= data.length; end += pieceBytes) data[end - 1] = 10
    const argv = ['srun', '--quiet', ...onFirst, 'sh', '-c', 'echo up >&2; cat; echo end >&2; exit 7']
    const srun = cluster.start(argv, { user: 'alice' })
    const [out, err]: [Buffer[], string[]] = [[], []]
    srun.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
    srun.stderr?.on('data', (chunk: Buffer) => err.push(String(chunk)))
    const exited = once(srun, 'close')
    try {
      await until('the task runs', () => err.join('').includes('up'), boundMs)
      const received = () => out.reduce((sum, chunk) => sum + chunk.length, 0)
      const faults = [
        () => crashDaemon(cluster, 'n1', 'vmrmd').then(() => cluster.daemon('start', 'n1', 'vmrmd')),
        () => crashDaemon(cluster, 'ctl', 'vmrmd').then(() => cluster.daemon('start', 'ctl', 'vmrmd')),
        () => cluster.daemon('restart', 'n1', 'slurmd'),
        () => cluster.daemon('restart', 'n1', 'libvirtd'),
      ]
      const piece = pieceBytes
      for (const [at, fault] of faults.entries()) {
        // Half of the piece is under way when the fault comes, the other half is sent meanwhile.
        srun.stdin?.write(data.subarray(at * piece, (at + 0.5) * piece))
        const faulty = fault()
        srun.stdin?.write(data.subarray((at + 0.5) * piece, (at + 1) * piece))
        await faulty
        await until(`piece ${at} is back`, () => received() === (at + 1) * piece, boundMs)
      }
      srun.stdin?.end()
      const [code] = await exited
      t.equal(code, 7, err.join(''))
      t.equal(err.join('').replace(/^srun: .* exit code 7\n/m, ''), 'up\nend\n', 'nothing else was said')
      const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
      t.equal(sum(Buffer.concat(out)), sum(data), 'every byte once and in order')
      await cluster.waitUntilIdle()
    } finally {
      srun.kill('SIGKILL')
      await cluster.up()
    }
  })
})

t.test('vmrmd that is killed while it makes VMs begins again, and the job succeeds', async (t) => {
  await withCluster(t, async (cluster) => {
    const id = await submit(cluster, 'echo ran', { arguments: onFirst })
    await until('the VM exists', () => hasVm(cluster, 'n1', id), boundMs)
    await crashDaemon(cluster, 'n1', 'vmrmd')
    await cluster.daemon('start', 'n1', 'vmrmd')
    t.match(await ended(cluster, id, { timeoutMs: boundMs }), { state: 'COMPLETED', output: 'ran\n', restarts: 0 })
  })
})

t.test(
  'a node without libvirtd or vmrmd is drained for as long as that lasts, and its jobs run elsewhere',
  async (t) => {
    await withCluster(t, async (cluster) => {
      await withTimeouts(cluster, 'node-daemon-seconds="15"', async () => {
        for (const [daemon, reason] of [
          ['libvirtd', /^n1 drain\w* vmrm: libvirtd does not answer/],
          ['vmrmd', /^n1 drain\w* vmrm: the vmrmd of node n1 does not answer/],
        ] as const) {
          await cluster.daemon('stop', 'n1', daemon)
          try {
            const id = await submit(cluster, 'echo ran', { arguments: ['--vm-image=tiny', '--mem=300'] })
            await untilStates(cluster, [reason])
            t.pass(`${daemon}: ${(await nodeStates(cluster))[0]}`)
            if (daemon === 'vmrmd') await cluster.daemon('start', 'n1', daemon)
            const job = await ended(cluster, id, { timeoutMs: boundMs })
            t.match(job, { state: 'COMPLETED', restarts: 1 }, daemon)
            t.match(job.output, /^ran$/m)
            // An administrator's drain is not vmrm's to lift, whatever the node's daemons do.
            const update = ['scontrol', 'update', 'NodeName=n2', 'State=DRAIN', 'Reason=memory test']
            await cluster.run(update)
            await cluster.daemon('start', 'n1', daemon)
            await cluster.daemon('restart', 'n2', daemon)
            await untilStates(cluster, [/^n1 idle$/, /^n2 drained memory test$/])
            t.pass(`${daemon}: resumed`)
          } finally {
            await cluster.up()
            await cluster.run(['scontrol', 'update', 'NodeName=n1,n2', 'State=RESUME'])
          }
        }
      })
    })
  },
)

t.test('with the off switch set or a part missing no task of a VM job runs on the host', async (t) => {
  await withCluster(t, async (cluster) => {
    const folder = join(cluster.layout.folder, 'usr-lib-vmrm')
    const offSwitches = cluster.layout.hosts.map((host) => join(host.folder, 'etc/vmrm/off'))
    const hostRelease = (await cluster.run(['uname', '-r'])).stdout.trim()
    const cases = [
      {
        what: 'the off switch',
        set: () => offSwitches.map((path) => writeFileSync(path, '')),
        unset: () => offSwitches.map((path) => rmSync(path, { force: true })),
        output: /^vmrm: /,
      },
    ]
    for (const { what, set, unset, output } of cases) {
      const id = await submit(cluster, 'uname -r', { arguments: [...onFirst, '--hold'] })
      set()
      try {
        const plain = await cluster.run(['srun', 'uname', '-r'], { user: 'alice' })
        t.match(plain, { exitCode: 0, stdout: `${hostRelease}\n` }, `${what}: a plain job is as ever`)
        await cluster.run(['scontrol', 'release', String(id)])
        const job = await ended(cluster, id, { timeoutMs: boundMs })
        t.match(job, { state: 'FAILED', output }, what)
        t.notMatch(job.output, hostRelease, `${what}: nothing ran on the host`)
      } finally {
        unset()
      }
    }
    // A part that is missing is the node's fault: it drains until the part is back.
    for (const part of ['vmrm-run', 'vmrm.so']) {
      const id = await submit(cluster, 'uname -r', { arguments: [...onFirst, '--hold'] })
      renameSync(join(folder, part), join(folder, `${part}.away`))
      try {
        await cluster.run(['scontrol', 'release', String(id)])
        await untilStates(cluster, [/^n1 drain\w* vmrm: .* is missing on node n1$/])
        t.notMatch(await jobOutput(cluster, id), hostRelease, `${part}: nothing ran on the host`)
        await cluster.run(['scancel', String(id)])
        await ended(cluster, id, { timeoutMs: boundMs })
      } finally {
        renameSync(join(folder, `${part}.away`), join(folder, part))
      }
      await cluster.daemon('restart', 'n1', 'vmrmd')
      await untilStates(cluster, [/^n1 idle$/, /^n2 idle$/])
    }
  })
})

t.test('a marker that a killed Epilog left is swept when its job is over', async (t) => {
  await withCluster(t, async (cluster) => {
    const marker = join(hostNamed(cluster.layout, 'n1').folder, 'run/vmrm/jobs/4000000001')
    writeFileSync(marker, 'script=guest\n')
    utimesSync(marker, new Date(0), new Date(0))
    await cluster.daemon('restart', 'n1', 'vmrmd')
    // The leak ledger of withCluster waits for it to go.
    t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
  })
})
