// What goes wrong while a job runs: a QEMU that is killed, a guest that panics, a node's disk that fills up. The job's
// tasks end on all its nodes and say which VM it was; no node drains and nothing is left.
import t from 'tap'
import { ended, jobOutput, nodesAtRest, submit } from '../support/batch.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'

const bootMs = 120_000
/** From the loss of a VM to the job's end. */
const lossMs = 30_000

const image = {
  name: 'nmi-panics',
  // An NMI is how a host can make this guest panic in the middle of whatever it does.
  changes: [['console=ttyS0', 'console=ttyS0 unknown_nmi_panic']] as const,
}

async function onNode(cluster: Cluster, node: string, script: string): Promise<void> {
  const found = await cluster.run(['sh', '-ec', script], { node })
  if (found.exitCode !== 0) throw new Error(`${node}: ${found.stderr}`)
}

async function untilOutput(cluster: Cluster, id: number, pattern: RegExp): Promise<void> {
  await until(`${pattern} in the output of job ${id}`, async () => pattern.test(await jobOutput(cluster, id)), bootMs)
}

const nodeOf = async (cluster: Cluster, id: number) =>
  (await cluster.run(['squeue', '--noheader', `--jobs=${id}`, '--format=%N'])).stdout.trim()

/** Replaces the folder of a node's runs by a file system of this size; `work` may fill it. */
async function withSmallDisk(cluster: Cluster, node: string, size: string, work: () => Promise<void>): Promise<void> {
  const folder = '/var/lib/vmrm/runs'
  await onNode(cluster, node, `mount -t tmpfs -o mode=711,size=${size} tmpfs ${folder}`)
  try {
    await work()
  } finally {
    await onNode(cluster, node, `rm -f ${folder}/fill; umount ${folder}`)
  }
}

t.test('a QEMU that is killed or a guest that panics ends the job on all its nodes', async (t) => {
  await withCluster(t, async (cluster) => {
    await withImages(cluster, [image], async () => {
      const two = await submit(cluster, 'srun --label sh -c "echo started; sleep 600"; echo srun $?', {
        arguments: ['--vm-image=tiny', '--vm-script=host', '--nodes=2', '--ntasks-per-node=1', '--mem=300'],
      })
      const panics = await submit(cluster, 'echo started; sleep 600', {
        arguments: ['--vm-image=nmi-panics', '--mem=300'],
      })
      await untilOutput(cluster, two, /started[\s\S]*started/)
      await onNode(cluster, 'n2', `kill -KILL $(cat /run/libvirt/qemu/j${two}r0v1.pid)`)
      const killed = await ended(cluster, two, { timeoutMs: lossMs })
      t.match(killed.output, new RegExp(`^1: vmrm: VM j${two}r0v1 on node n2 ended while the job ran: its QEMU`, 'm'))
      t.match(killed.output, new RegExp(`^0: vmrm: VM j${two}r0v1 on node n2 is gone: its QEMU crashed`, 'm'))
      t.match(killed.output, /^srun 1$/m, 'both tasks ended with an exit code that is not 0')
      t.match(killed.adminComment, new RegExp(`VM j${two}r0v1 on node n2 is gone`))

      await untilOutput(cluster, panics, /started/)
      await onNode(cluster, await nodeOf(cluster, panics), `virsh --quiet inject-nmi j${panics}r0v0`)
      const panicked = await ended(cluster, panics, { timeoutMs: lossMs })
      t.match(panicked, {
        state: 'FAILED',
        exitCode: '1:0',
        output: /ended while the job ran: its guest's kernel panicked/,
      })
      t.match(panicked.adminComment, /kernel panicked/)
      t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
    })
  })
})

t.test('a full disk of a node fails the job with a sentence, at its start and in its middle', async (t) => {
  await withCluster(t, async (cluster) => {
    const onFirst = ['--vm-image=tiny', '--mem=400', '--nodelist=n1']
    const fill = 'head -c 1G /dev/zero > /var/lib/vmrm/runs/fill || true'
    await withSmallDisk(cluster, 'n1', '64k', async () => {
      await onNode(cluster, 'n1', fill)
      const job = await ended(cluster, await submit(cluster, 'echo ran', { arguments: onFirst }), { timeoutMs: bootMs })
      t.match(job, { state: 'FAILED', exitCode: '1:0', adminComment: /no room|No room/ })
      t.match(job.output, /^vmrm: (VM j\d+r0v0 on )?node n1.*no (room|space)/im)
      t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
    })
    await withSmallDisk(cluster, 'n1', '24m', async () => {
      const script = 'echo started; head -c 100M /dev/urandom > /var/tmp/big; sync; echo not reached; sleep 600'
      const id = await submit(cluster, script, { arguments: onFirst })
      await untilOutput(cluster, id, /started/)
      const job = await ended(cluster, id, { timeoutMs: bootMs })
      t.match(job, { state: 'FAILED', exitCode: '1:0' })
      t.match(
        job.output,
        /VM j\d+r0v0 on node n1 ended while the job ran: .*its disk could not be written: .* has 0 MiB left/,
      )
      t.notMatch(job.output, /not reached/)
      t.match(job.adminComment, /its disk could not be written/)
      t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
    })
  })
})
