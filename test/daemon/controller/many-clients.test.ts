// The real controller daemon with its real ledger, asked by twenty clients at once over its socket, and killed in the middle.
// Only Slurm is played: its commands answer from a script.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { unpackPlan } from '../../../lib/daemon/controller/ledger/plan-text.ts'
import { leasesOf } from '../../../lib/daemon/controller/rebuild/told-run.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { createClient, type ProtocolClient } from '../../../lib/protocol/client.ts'
import { createRandom } from '../../support/random.ts'
import { until } from '../../support/until.ts'

const clients = 20
const runsEach = 5
const perNode = 5
const boundMs = 120_000
const nodes = ['127.0.0.2', '127.0.0.3']
const binary = join(import.meta.dirname, '../../../build/vmrm')

const slurm = {
  scontrol: `job=$4\necho "JobId=$job JobName=x"\necho "     Nodes=${nodes.join(',')} CPU_IDs=0-4 Mem=4000 GRES="\n`,
  squeue: `for job in $(seq ${clients * runsEach}); do echo "$job RUNNING"; done\n`,
  sinfo: `${nodes.map((node) => `echo "${node} idle"`).join('\n')}\n`,
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A folder with all that the daemon needs; returns its configuration. */
async function prepare(folder: string): Promise<string> {
  for (const name of ['bin', 'images', 'run']) mkdirSync(join(folder, name))
  for (const [name, text] of Object.entries(slurm)) {
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${text}`)
    chmodSync(join(folder, 'bin', name), 0o755)
  }
  writeFileSync(
    join(folder, 'images/tiny.xml'),
    `<image version="1" name="tiny" revision="1"><os family="linux" agent="builtin"/><master path="/m" format="raw"/>
     <boot kind="firmware"/><hostnames range="tiny-[0001-2000]"/><network kind="private" addresses="10.77.0.0/16"/>
     <access policy="all"/><limits max-memory-mib="4000" max-cpus="8" max-per-node="${perNode}"/></image>`,
  )
  const config = join(folder, 'vmrmd.xml')
  writeFileSync(
    config,
    `<vmrmd version="1"><cluster name="many"/>
     <controller host="localhost" address="127.0.0.1" port="${await freePort()}" user="root"/><node port="${await freePort()}"/>
     <paths images="${folder}/images" runtime="${folder}/run" runs="${folder}/runs" controller-state="${folder}/state"/>
     <slurm commands="${folder}/bin" config="/dev/null"/></vmrmd>`,
  )
  return config
}

async function start(folder: string, config: string): Promise<ChildProcess> {
  const daemon = spawn(binary, ['--role', 'controller', '--config', config], { argv0: 'vmrmd', stdio: 'pipe' })
  let log = ''
  daemon.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString()
  })
  t.teardown(() => daemon.kill('SIGKILL'))
  await until(
    'the daemon is ready',
    () => {
      if (daemon.exitCode !== null) throw new Error(log)
      return /daemon.ready/.test(log) && existsSync(join(folder, 'run/controller.sock'))
    },
    boundMs,
  )
  return daemon
}

function begin(client: ProtocolClient, job: number) {
  const owner = { uid: 0, gid: 0, user: 'root', account: '', partition: 'main' }
  const request = { image: 'tiny', perNode, script: 'guest' as const }
  return client.call('run-begin', { job, restart: 0, ...owner, nodes: nodes.join(','), selector: `${job}`, request })
}

/** Asks until there is an answer, as Slurm's hooks do. */
async function beginPatiently(client: ProtocolClient, job: number): Promise<void> {
  let last: unknown
  const isBegun = () =>
    begin(client, job).then(
      () => true,
      (error: unknown) => {
        last = error
        return false
      },
    )
  await until(`the begin of job ${job}`, isBegun, boundMs).catch((cause: unknown) => {
    throw new Error(`${cause}: ${last}`)
  })
}

interface Found {
  readonly plans: readonly { run: string; plan: RunPlan }[]
  /** `address 10.77.0.2 j5r0` */
  readonly leases: readonly string[]
}

function readLedger(folder: string): Found {
  const database = new DatabaseSync(join(folder, 'state/ledger.sqlite'), { readOnly: true })
  try {
    const runs = database.prepare('SELECT job, restart, plan FROM runs WHERE plan IS NOT NULL').all()
    const leases = database.prepare('SELECT space, value, job, restart FROM leases').all()
    return {
      plans: runs.map(({ job, restart, plan }) => ({
        run: `j${job}r${restart}`,
        plan: unpackPlan(String(plan)),
      })),
      leases: leases.map(({ space, value, job, restart }) => `${space} ${value} j${job}r${restart}`),
    }
  } finally {
    database.close()
  }
}

t.test(
  'a thousand leases from twenty clients at once, with a crash in the middle: none twice, none lost',
  async (t) => {
    t.ok(existsSync(binary), 'vmrm is built')
    // A socket's path may have 107 bytes.
    const folder = mkdtempSync(join(tmpdir(), 'vmrm-many-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const config = await prepare(folder)
    const random = createRandom()
    t.comment(`seed ${random.seed}`)
    const crashAfter = 10 + random.int(clients * runsEach - 30)
    const daemon = await start(folder, config)
    const connect = { kind: 'local', path: join(folder, 'run/controller.sock') } as const
    const all = Array.from({ length: clients }, () => createClient({ connect, unreachable: 'controller-unreachable' }))
    let answered = 0
    let again: Promise<ChildProcess> | undefined
    await Promise.all(
      all.map(async (client, at) => {
        for (let each = 0; each < runsEach; each += 1) {
          await beginPatiently(client, at * runsEach + each + 1)
          answered += 1
          if (answered !== crashAfter) continue
          daemon.kill('SIGKILL')
          await until('the end of the daemon', () => daemon.signalCode !== null)
          again = start(folder, config)
        }
      }),
    )
    await again
    const { plans, leases } = readLedger(folder)
    const planned = plans.flatMap(({ run, plan }) =>
      leasesOf(plan).map(({ space, value }) => `${space} ${value} ${run}`),
    )
    t.same(leases.toSorted(), planned.toSorted(), 'what is leased is what was planned')
    const values = planned.map((line) => line.slice(0, line.lastIndexOf(' ')))
    t.equal(new Set(values).size, values.length, 'nothing is leased to two')
    // A run whose plan was not on disk when the daemon died is given up; there is one for each client at most.
    t.ok(plans.length >= clients * (runsEach - 1) && plans.length <= clients * runsEach, `${plans.length} runs`)
    for (const { plan } of plans) t.equal(plan.nodes.flatMap((node) => node.vms).length, perNode * nodes.length)

    const [root] = all as [ProtocolClient]
    for (let job = 1; job <= clients * runsEach; job += 1) await root.call('run-end', { job, restart: 0 })
    t.equal(readLedger(folder).leases.length, leases.length, 'nodes that are dead keep what their runs had')
    for (const node of nodes) await root.call('forget-node', { node })
    t.same(readLedger(folder).leases, [], 'and it is free when they are gone for good')
    for (const client of all) client.close()
  },
)
