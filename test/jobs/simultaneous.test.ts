// Ten jobs on one node and two jobs that cross on both, all at once: every name, MAC, address and network is one job's alone.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Cluster } from '../support/cluster.ts'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { withImages } from '../support/test-images.ts'

const many = 10
/** Of each task, in its VM: hostname, MAC, address. */
const tell = `srun -l sh -c 'echo $(hostname) $(cat /sys/class/net/eth0/address) $(hostname -I)' | sort`

interface ListedVm {
  readonly name: string
  readonly hostname: string
  readonly address: string
  readonly node: string
}

/** The network of each VM: what its domain's tap is named after. */
async function networksOf(cluster: Cluster, vms: readonly ListedVm[]): Promise<readonly string[]> {
  const networks: string[] = []
  for (const { name, node } of vms) {
    const { stdout } = await cluster.run(['virsh', '--quiet', 'domiflist', name], { node })
    networks.push(/\bvt([0-9a-f]{6})-\d+\b/.exec(stdout)?.[1] ?? `none: ${stdout}`)
  }
  return networks
}

/** Until the cluster, which is this test's own, is taken down. */
async function withTemplates(cluster: Cluster): Promise<void> {
  for (const { name, folder } of cluster.layout.hosts) {
    const path = join(folder, 'etc/vmrm/vmrmd.xml')
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace('<templates max-mib="0"/>', '<templates max-mib="2000"/>'))
    await cluster.daemon('restart', name, 'vmrmd')
  }
}

/** Fourteen VMs at once on a machine that others use, too. */
const patient = { name: 'patient', changes: [[/timeout-seconds="\d+"/, 'timeout-seconds="600"']] as const }

t.test('jobs that start at the same moment share nothing', (t) =>
  withJobs(t, 'simultaneous', (jobs) => withImages(jobs.cluster, [patient], () => startAtOnce(t, jobs)), [
    '--cpus',
    '16',
  ]),
)

async function startAtOnce(t: Test, jobs: Jobs): Promise<void> {
  const { cluster } = jobs
  const script = `#!/bin/sh\necho ready\nwhile ! test -e all; do sleep 0.2; done\n${tell}\n`
  const submit = (...more: string[]) =>
    jobs.submit(script, { arguments: ['--vm-image=patient', '--mem=250', '--oversubscribe', ...more] })
  await withTemplates(cluster)
  // Its template is there for the others, which are clones then: fourteen boots at once would take minutes.
  const first = await jobs.run('#!/bin/sh\nsrun hostname', { arguments: ['-N2', '--vm-image=patient', '--mem=250'] })
  t.equal(first.fields.JobState, 'COMPLETED', first.output)
  const [crossing, small] = await Promise.all([
    Promise.all([submit('-N2', '-n2'), submit('-N2', '-n2')]),
    Promise.all(Array.from({ length: many }, () => submit('-w', 'n1'))),
  ])
  const all = [...crossing, ...small]
  for (const job of all) await jobs.awaitOutput(job, '\n')
  for (const job of all) t.equal(jobs.output(job), 'ready\n')
  const listed = JSON.parse((await cluster.run(['vmrm', 'ps', '--json'])).stdout) as { vms: ListedVm[] }[]
  const vms = listed.flatMap((run) => run.vms)
  t.equal(listed.length, all.length, 'all run at the same time')
  t.equal(vms.length, many + 4)
  const networks = await Promise.all(listed.map((run) => networksOf(cluster, run.vms)))
  const ofRuns = networks.map((ofVms) => [...new Set(ofVms)].join(' '))
  for (const network of ofRuns) t.match(network, /^[0-9a-f]{6}$/, 'one network of all VMs of a job, on both nodes')
  t.equal(new Set(ofRuns).size, all.length, 'and no other job has it')
  await jobs.alice(['touch', 'all'])
  const lines: string[] = []
  for (const job of all) {
    const { fields, output } = await jobs.ended(job)
    t.equal(fields.JobState, 'COMPLETED', output)
    lines.push(...output.split('\n').filter((line) => /^\d+: /.test(line)))
  }
  t.equal(lines.length, vms.length)
  const told = lines.map((line) => line.trim().split(/\s+/).slice(1))
  for (const [at, what] of ['hostnames', 'MAC addresses', 'addresses'].entries()) {
    t.equal(new Set(told.map((parts) => parts[at])).size, vms.length, `${what} are all different`)
  }
  const planned = vms.map(({ hostname, address }) => `${hostname} ${address}`)
  t.same(
    told.map(([hostname, , address]) => `${hostname} ${address}`).sort(),
    planned.sort(),
    'and those that were leased',
  )
  await jobs.alice(['rm', 'all'])
  for (const node of cluster.nodes) await cluster.run(['vmrm', 'image', 'forget', 'patient'], { node })
}
