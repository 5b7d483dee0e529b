// Several batches and a job at once, on the same two nodes in either order, with one hostname too few: each gets hostnames, MACs and
// addresses of its own, or a sentence.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Cluster, Finished } from '../support/cluster.ts'
import type { Jobs } from '../support/job-cluster.ts'
import { until } from '../support/until.ts'
import { type Batch, boundMs, create, destroy, inVm, lookEveryMs, made } from './batch-commands.ts'

/** Two VMs each; the job has two, too. */
const orders = ['n1,n2', 'n2,n1', 'n[1-2]']
/** In each VM: its hostname, MAC and address. */
const tell = 'echo $(hostname) $(cat /sys/class/net/eth0/address) $(hostname -I)'

/** `before`: a batch that is there. */
export async function cross(t: Test, jobs: Jobs, before: Batch): Promise<void> {
  const { cluster } = jobs
  const count = before.vms.length + 2 * orders.length + 1
  const range = `tiny-[0001-${String(count).padStart(4, '0')}]`
  await withHostnames(cluster, range, async () => {
    const create0 = () => create(cluster, 'crossing-0', `--nodes=${orders[0]}`)
    const others = orders.slice(1).map((nodes, at) => create(cluster, `crossing-${at + 1}`, `--nodes=${nodes}`))
    const [said, repeated, job] = await Promise.all([Promise.all([create0(), ...others]), create0(), runJob(jobs)])
    t.equal(repeated.stdout === '', said[0]?.stdout === '', 'the same request has the same answer')
    const refusals = [...said.map(({ stderr }) => stderr), job.output].filter((text) => text.startsWith('vmrm: '))
    t.equal(refusals.length, 1, refusals.join())
    t.match(refusals[0], `image tiny: hostnames ${range}: 2 wanted, 1 of ${count} free`)

    const batches = said.filter(({ exitCode }) => exitCode === 0).map(made)
    const told = await Promise.all([before, ...batches].map((batch) => fromVms(cluster, batch)))
    const lines = [...told.flat(), ...job.output.split('\n').flatMap((line) => /^\d: (.*)/.exec(line)?.[1] ?? [])]
    t.equal(lines.length, count - 1, lines.join('\n'))
    for (const [at, what] of ['hostname', 'MAC', 'address'].entries()) {
      const values = lines.map((line) => line.split(' ')[at])
      t.equal(new Set(values).size, count - 1, `no ${what} is had twice: ${values}`)
    }
    await jobs.alice(['touch', 'stop'])
    await jobs.ended(job.id, boundMs)
    await destroy(t, cluster, ...batches.map(({ name }) => name))
  })
}

/** A job on both nodes, as soon as its VMs have told or are refused; it goes on until there is a file `stop`. */
async function runJob(jobs: Jobs): Promise<{ readonly id: number; readonly output: string }> {
  const script = `#!/bin/sh\nsrun -l sh -c '${tell}'\necho told\nwhile ! test -e stop; do sleep 0.5; done\n`
  const id = await jobs.submit(script, { arguments: ['-N2', '--no-requeue', '--vm-image=tiny', '--mem=400'] })
  const isKnown = () => /^told$|^vmrm: /m.test(jobs.output(id))
  await until('what becomes of the job', isKnown, boundMs, lookEveryMs)
  return { id, output: jobs.output(id) }
}

async function fromVms(cluster: Cluster, batch: Batch): Promise<readonly string[]> {
  const said: Finished[] = await Promise.all(batch.vms.map((_, index) => inVm(cluster, batch, index, tell)))
  return said.map(({ stdout, stderr }) => stdout.trim() || stderr)
}

/** Until it is over, the image has these hostnames and no others. */
async function withHostnames(cluster: Cluster, range: string, work: () => Promise<void>): Promise<void> {
  const path = join(cluster.layout.folder, 'images.d/tiny.xml')
  const entry = readFileSync(path, 'utf8')
  writeFileSync(path, entry.replace(/<hostnames range="[^"]*"/, `<hostnames range="${range}"`))
  try {
    await work()
  } finally {
    writeFileSync(path, entry)
  }
}
