// The command line in the real cluster, as users and as root: what it answers, to whom, and with which exit code.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import { waitFor } from '../cluster/wait.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'

t.setTimeout(600_000)
const bound = { timeout: 300_000 }

/** An entry beside `tiny` for the time of `work`. */
async function withEntry(
  cluster: Cluster,
  entry: { name: string; change: (text: string) => string },
  work: () => Promise<void>,
): Promise<void> {
  const folder = join(cluster.layout.folder, 'images.d')
  const path = join(folder, `${entry.name}.xml`)
  const text = readFileSync(join(folder, 'tiny.xml'), 'utf8')
  const named = text.replace('name="tiny"', `name="${entry.name}"`).replace('range="tiny-', `range="${entry.name}-`)
  writeFileSync(path, entry.change(named))
  try {
    await work()
  } finally {
    rmSync(path)
  }
}

async function withConfiguration(
  cluster: Cluster,
  change: { host: string; edit: (text: string) => string },
  work: () => Promise<void>,
): Promise<void> {
  const path = join(hostNamed(cluster.layout, change.host).folder, 'etc/vmrm/vmrmd.xml')
  const before = readFileSync(path, 'utf8')
  writeFileSync(path, change.edit(before))
  try {
    await work()
  } finally {
    writeFileSync(path, before)
  }
}

const listed = (text: string) =>
  text.replace('<access policy="all"/>', '<access policy="listed"><user name="carol"/><group name="proj"/></access>')

t.test('check-request says who may have what, and 65 is for refusals alone', bound, async (t) => {
  await withCluster(t, async (cluster) => {
    const ask = (user: string, ...args: string[]) =>
      cluster.run(['vmrm', 'check-request', ...args], { user, node: 'n1' })
    const cases: [string, string[], number, RegExp][] = [
      ['alice', ['--image=tiny', '--per-node=2', '--script=host'], 0, /^$/],
      ['alice', ['--image=nope'], 65, /^vmrm: there is no image nope on this cluster$/m],
      ['alice', ['--image=tiny@other'], 65, /image tiny has revision \S+, not other/],
      ['alice', ['--image=tiny', '--per-node=200'], 65, /allows 16 VMs a node; 200 were asked for/],
      ['alice', ['--image=$(id)'], 65, /cannot be used/],
      ['alice', ['--image=tiny', '--unheard-of'], 64, /usage/],
      ['carol', ['--image=few'], 0, /^$/],
      ['bob', ['--image=few'], 0, /^$/],
      ['root', ['--image=few'], 0, /^$/],
    ]
    await withEntry(cluster, { name: 'few', change: listed }, async () => {
      for (const [user, args, exitCode, says] of cases) {
        const result = await ask(user, ...args)
        t.equal(result.exitCode, exitCode, `${user} ${args.join(' ')}`)
        t.match(result.stderr, says)
      }
    })
    await withEntry(
      cluster,
      { name: 'few', change: (text) => listed(text).replace('<group name="proj"/>', '') },
      async () => {
        const result = await ask('bob', '--image=few')
        t.equal(result.exitCode, 65)
        t.match(result.stderr, /^vmrm: user bob may not use image few$/m)
      },
    )
    await withConfiguration(cluster, { host: 'n1', edit: (text) => text.replace('<cluster', '<clutser') }, async () => {
      t.equal((await ask('alice', '--image=tiny')).exitCode, 78)
    })
    await cluster.daemon('stop', 'ctl', 'vmrmd')
    try {
      const began = performance.now()
      const result = await ask('alice', '--image=tiny')
      t.equal(result.exitCode, 69)
      t.match(result.stderr, /^vmrm: Asking vmrmd \(controller/)
      t.ok(performance.now() - began < 5000, 'within the bound of the plug-in')
    } finally {
      await cluster.daemon('start', 'ctl', 'vmrmd')
    }
  })
})

t.test("ps shows one's own runs, root everybody's, and refuses what is no job id", bound, async (t) => {
  await withCluster(t, async (cluster) => {
    const vmrm = (user: string, ...args: string[]) => cluster.run(['vmrm', 'ps', ...args], { user })
    const submit = await cluster.run(
      ['sbatch', '--parsable', '--vm-image=tiny', '--mem=500', '--wrap=true', '--output=/dev/null'],
      { user: 'alice' },
    )
    t.equal(submit.exitCode, 0, submit.stderr)
    const job = submit.stdout.trim()
    await waitFor(async () => (await vmrm('root', job)).exitCode === 0, { timeoutMs: 30_000 })
    for (const user of ['alice', 'root']) {
      const shown = await vmrm(user, job)
      t.equal(shown.exitCode, 0, `${user} sees it`)
      t.match(shown.stdout, new RegExp(`^JOB +RUN +USER +IMAGE +STATE.*\n${job} +0 +alice +tiny `))
      const runs = JSON.parse((await vmrm(user, '--json', job)).stdout)
      t.match(runs, [{ job: Number(job), restart: 0, user: 'alice', image: 'tiny' }])
    }
    const others = await vmrm('bob', '--all')
    t.equal(others.exitCode, 0)
    t.notMatch(others.stdout, /alice/)
    const asked = await vmrm('bob', job)
    t.equal(asked.exitCode, 65)
    t.equal(asked.stderr, `vmrm: job ${job} has no run in VMs that you may see\n`)
    for (const text of ['0', '1_2', 'x', '-1'])
      t.not((await vmrm('alice', '--', text)).exitCode, 0, `${text} is no job id`)
    // The run ends by itself, or is ended: nothing of it may stay.
    const isOver = async () => (await cluster.run(['squeue', '--noheader', '--jobs', job])).stdout.trim() === ''
    if (!(await waitFor(isOver, { timeoutMs: 90_000 }))) await cluster.run(['scancel', job])
    const hasEnded = async () => JSON.parse((await vmrm('root', '--json', job)).stdout)[0]?.state === 'ended'
    t.ok(await waitFor(hasEnded, { timeoutMs: 60_000 }), 'the run has ended')
    t.notMatch((await vmrm('alice')).stdout, new RegExp(`^${job} `, 'm'))
    t.match((await vmrm('alice', '--all')).stdout, new RegExp(`^${job} `, 'm'))
  })
})

t.test('image list, show and check', bound, async (t) => {
  await withCluster(t, async (cluster) => {
    const image = (user: string, ...args: string[]) => cluster.run(['vmrm', 'image', ...args], { user, node: 'n1' })
    const only = (text: string) =>
      text.replace('<access policy="all"/>', '<access policy="listed"><user name="carol"/></access>')
    const wrong = (text: string) => only(text).replace(/sha256="[0-9a-f]{4}/, 'sha256="0000')
    await withEntry(cluster, { name: 'few', change: wrong }, async () => {
      t.match((await image('alice', 'list')).stdout, /^few +\S+ +linux +no +8 +4096 MiB$/m)
      t.match((await image('carol', 'list')).stdout, /^few +\S+ +linux +yes /m)
      const entries = JSON.parse((await image('carol', 'list', '--json')).stdout)
      t.match(
        entries.find((entry: { name: string }) => entry.name === 'few'),
        { allowed: true, cpuLimit: 8 },
      )
      const shown = await image('alice', 'show', 'few')
      t.equal(shown.stdout, readFileSync(join(cluster.layout.folder, 'images.d/few.xml'), 'utf8'))
      t.equal((await image('alice', 'show', 'nope')).exitCode, 65)
      t.equal((await image('alice', 'show', '../x')).exitCode, 65)
      const checked = await image('root', 'check', 'tiny', 'few')
      t.equal(checked.exitCode, 78)
      t.match(
        checked.stdout,
        /^tiny \(.*\): ok\nfew \(.*\):\n {2}error: master: .* has SHA-256 [0-9a-f]{64}, and the entry says 0000/,
      )
      t.equal((await image('root', 'check', '--no-checksum', 'few')).exitCode, 0)
      t.equal((await image('root', 'check', 'nope')).exitCode, 65)
    })
    const all = await image('root', 'check')
    t.equal(all.exitCode, 0, all.stdout)
  })
})

t.test('slurmctld goes by the table that job-submit-table writes', bound, async (t) => {
  await withCluster(t, async (cluster) => {
    const write = () => cluster.run(['vmrm', 'job-submit-table', '--output', '/etc/vmrm/job_submit_table.lua'])
    const submit = (...args: string[]) =>
      cluster.run(['sbatch', '--parsable', '--hold', '--partition=low', '--wrap=true', '--output=/dev/null', ...args], {
        user: 'alice',
      })
    const partitions = '<defaults><partition name="low" image="tiny" opt-out="true"/></defaults></vmrmd>'
    try {
      await withConfiguration(
        cluster,
        { host: 'ctl', edit: (text) => text.replace('</vmrmd>', partitions) },
        async () => {
          const written = await write()
          t.equal(written.exitCode, 0, written.stderr)
          const mode = await cluster.run(['stat', '-c', '%a', '/etc/vmrm/job_submit_table.lua'])
          t.equal(mode.stdout, '644\n')
          t.equal((await cluster.run(['test', '-e', '/etc/vmrm/default-images'])).exitCode, 0)
          const given = await submit()
          t.equal(given.exitCode, 0, given.stderr)
          const shown = await cluster.run(['scontrol', 'show', 'job', given.stdout.trim()])
          t.match(shown.stdout, /AdminComment=vmrm-image=tiny/)
          await cluster.run(['scancel', given.stdout.trim()])
          const large = await submit('--vm-image=tiny', '--mem=5900')
          t.not(large.exitCode, 0)
          t.match(large.stderr, /a VM of the job would have \d+ MiB, and image tiny allows 4096/)
          const out = await submit('--vm-image=none')
          t.equal(out.exitCode, 0, out.stderr)
          await cluster.run(['scancel', out.stdout.trim()])
        },
      )
    } finally {
      await write()
    }
    const free = await submit()
    t.equal(free.exitCode, 0, 'without the partition in vmrmd.xml a job need not be in VMs')
    t.not((await cluster.run(['test', '-e', '/etc/vmrm/default-images'])).exitCode, 0)
    await cluster.run(['scancel', free.stdout.trim()])
  })
})
