// The controller's ledger is deleted while jobs run, with one node's daemon away: nothing is leased twice, and everything ends well.
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import type { Cluster } from '../support/cluster.ts'
import { crashDaemon } from '../support/daemon-faults.ts'
import { withJobs } from '../support/job-cluster.ts'
import { until } from '../support/until.ts'

interface ListedRun {
  readonly job: number
  readonly state: string
  readonly vms: readonly { readonly hostname: string; readonly address: string; readonly node: string }[]
}

async function runsOf(cluster: Cluster): Promise<ReadonlyMap<number, ListedRun>> {
  const { stdout } = await cluster.run(['vmrm', 'ps', '--all', '--json'])
  return new Map((JSON.parse(stdout) as ListedRun[]).map((run) => [run.job, run]))
}

const namesOf = (run: ListedRun | undefined) =>
  (run?.vms ?? []).map(({ hostname, address, node }) => `${hostname} ${address} ${node}`)

t.test('a ledger that is lost is made again from the nodes before anything is leased', (t) =>
  withJobs(t, 'ledger-lost', async (jobs) => {
    const { cluster } = jobs
    const waits = (name: string) =>
      `hostname; while ! test -e ${name}; do sleep 0.2; done; srun -l hostname | sort; exit 3`
    const options = ['--vm-image=tiny', '--mem=300']
    const wide = await jobs.submit(`#!/bin/sh\n${waits('stop')}`, { arguments: [...options, '-N2'] })
    await jobs.awaitOutput(wide, '\n')
    const before = namesOf((await runsOf(cluster)).get(wide))
    t.equal(before.length, 2)

    await crashDaemon(cluster, 'ctl', 'vmrmd')
    await crashDaemon(cluster, 'n2', 'vmrmd')
    const state = join(hostNamed(cluster.layout, 'ctl').folder, 'var/lib/vmrm/controller')
    rmSync(state, { recursive: true })
    await cluster.daemon('start', 'ctl', 'vmrmd')
    await until('the run is known again', async () => (await runsOf(cluster)).has(wide))
    t.same(namesOf((await runsOf(cluster)).get(wide)), before, 'the silent node is known by what the other tells')

    const next = await jobs.submit('#!/bin/sh\nhostname', { arguments: [...options, '-w', 'n1'] })
    const log = () => readFileSync(join(cluster.layout.folder, 'log/ctl/vmrmd.log'), 'utf8')
    await until('the controller waits for the silent node', () => /ledger.rebuild-waits .*n2/.test(log()))
    t.same(namesOf((await runsOf(cluster)).get(next)), [], 'nothing is leased meanwhile')
    const refused = await cluster.run(['vmrm', 'node', 'forget', 'n1'])
    t.not(refused.exitCode, 0)
    t.match(refused.stderr, /vmrmd of node n1 answers/)
    const unprivileged = await jobs.alice(['vmrm', 'node', 'forget', 'n2'])
    t.match(unprivileged.stderr, /only root and SlurmUser/)

    await cluster.daemon('start', 'n2', 'vmrmd')
    const first = await jobs.ended(next)
    t.equal(first.fields.JobState, 'COMPLETED', first.output)
    const [own = ''] = namesOf((await runsOf(cluster)).get(next))
    t.notOk(
      before.some((name) => name.split(' ').some((part) => part !== 'n1' && own.split(' ').includes(part))),
      own,
    )
    t.equal(first.output, `${own.split(' ')[0]}\n`)

    await jobs.alice(['touch', 'stop'])
    const { fields, output } = await jobs.ended(wide)
    t.equal(fields.ExitCode, '3:0', 'the job from before ends as if nothing had been')
    const [one = '', two = ''] = before.map((name) => name.split(' ')[0])
    t.equal(output, `${one}\n0: ${one}\n1: ${two}\n`)
    await jobs.alice(['rm', 'stop'])
  }),
)
