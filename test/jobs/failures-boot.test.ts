// Jobs whose VMs cannot be made: each fails within its bound, with what happened in its own output and its cause in
// AdminComment; no node drains and nothing is left. All at once, which is also how it happens on a cluster.
import t from 'tap'
import { type EndedJob, ended, nodesAtRest, submit } from '../support/batch.ts'
import { withCluster } from '../support/cluster.ts'
import { type TestImage, withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'

const bootSeconds = 15
/** Above the boot's own bound: the wait for a place among other starts, Slurm's and our own work on a loaded machine. */
const marginMs = 90_000

const short = [/timeout-seconds="\d+"/, `timeout-seconds="${bootSeconds}"`] as const

interface Case extends TestImage {
  readonly what: string
  readonly options?: readonly string[]
  /** Lines of the job's output, in this order. */
  readonly output: readonly RegExp[]
  readonly comment: RegExp
}

const cases: readonly Case[] = [
  {
    what: 'a guest that panics',
    name: 'panics',
    like: 'tiny-panic',
    output: [
      // Which of the two libvirt tells depends on whether the guest's pvpanic driver was there already.
      /^vmrm: VM j\d+r0v0 on node n[12] ended while it booted: its guest('s kernel panicked| switched it off or restarted it)$/,
      /^vmrm: {3}\| .*Kernel panic - not syncing/,
    ],
    comment: /^vmrm: VM j\d+r0v0 on node n[12] ended while it booted/,
  },
  {
    what: 'a guest that hangs',
    name: 'hangs',
    like: 'tiny-hang',
    changes: [short],
    output: [
      new RegExp(`^vmrm: VM j\\d+r0v[01] on node n[12] did not answer within ${bootSeconds} s of its start$`),
      // A busy machine's guest may not have come so far that it has said anything; one that panics has.
      /last console lines/,
    ],
    options: ['--vm-per-node=2', '--cpus-per-task=2', '--mem=600'],
    comment: /did not answer within/,
  },
  {
    what: 'a kernel that is none',
    name: 'boots-not',
    like: 'tiny-noboot',
    output: [/^vmrm: VM j\d+r0v0 on node n[12] could not be started: .*kernel/],
    comment: /could not be started: .*kernel/,
  },
  {
    what: 'a kernel that is missing',
    name: 'no-kernel',
    changes: [[/tiny\.vmlinux"/, 'is-not-there"']],
    output: [/^vmrm: VM j\d+r0v0 on node n[12] could not be started: .*is-not-there.*No such file/],
    comment: /is-not-there/,
  },
  {
    what: 'a master that is missing',
    name: 'no-master',
    changes: [[/tiny\.qcow2/, 'is-not-there.qcow2']],
    output: [/^vmrm: VM j\d+r0v0 on node n[12]: The master .*is-not-there\.qcow2 .*cannot be used: .*no such file/],
    comment: /is-not-there\.qcow2/,
  },
  {
    what: 'a master of another format',
    name: 'no-qcow2',
    changes: [[/path="[^"]*tiny\.qcow2"/, 'path="/etc/passwd"']],
    output: [/^vmrm: VM j\d+r0v0 on node n[12]: The master \/etc\/passwd .*it is not a qcow2 file/],
    comment: /not a qcow2 file/,
  },
  {
    what: 'too few addresses',
    name: 'one-address',
    changes: [[/addresses="[^"]*"/, 'addresses="10.79.0.0/30"']],
    options: ['--vm-per-node=2', '--cpus-per-task=2', '--mem=600'],
    output: [/^vmrm: image one-address: addresses 10\.79\.0\.0\/30: 2 wanted, there are 1 in all\. Ask for fewer VMs/],
    comment: /2 wanted, there are 1 in all/,
  },
  {
    what: 'too few hostnames',
    name: 'one-name',
    changes: [[/<hostnames range="[^"]*"/, '<hostnames range="one-[1-1]"']],
    options: ['--vm-per-node=2', '--cpus-per-task=2', '--mem=600'],
    output: [/^vmrm: image one-name: hostnames one-\[1-1\]: 2 wanted, there are 1 in all/],
    comment: /hostnames one-\[1-1\]/,
  },
  {
    what: 'too little memory',
    name: 'too-small',
    options: ['--mem=150'],
    output: [
      /^vmrm: the job has 150 MiB on node n[12]: 22 MiB is left for each of 1 VMs .*needs at least 96 MiB.*--mem/,
    ],
    comment: /150 MiB/,
  },
  {
    what: 'more VMs than CPUs',
    name: 'too-many',
    options: ['--vm-per-node=2', '--cpus-per-task=1', '--mem=600'],
    output: [/^vmrm: the job has 1 CPUs on node n[12]; 2 VMs need at least one each/],
    comment: /2 VMs need/,
  },
]

/** The output has these lines in this order, each of vmrm's lines is marked as such, and nothing of the script ran. */
function hasLines(job: EndedJob, expected: readonly RegExp[]): string | undefined {
  const lines = job.output.trimEnd().split('\n')
  const strays = lines.filter((line) => !line.startsWith('vmrm: '))
  if (strays.length > 0) return `not vmrm's: ${strays[0]}`
  let at = 0
  for (const pattern of expected) {
    const found = lines.findIndex((line, index) => index >= at && pattern.test(line))
    if (found < 0) return `no line ${pattern} from line ${at} on`
    at = found + 1
  }
  return undefined
}

t.test('a job whose VMs cannot be made fails with its reason; no node drains', async (t) => {
  await withCluster(t, async (cluster) => {
    await withImages(cluster, cases, async () => {
      const jobs = await Promise.all(
        cases.map(async (each) => {
          const options = [`--vm-image=${each.name}`, `--job-name=${each.name}`, ...(each.options ?? ['--mem=300'])]
          return { ...each, id: await submit(cluster, 'echo the script ran', { arguments: options }) }
        }),
      )
      for (const { what, id, output, comment } of jobs) {
        const job = await ended(cluster, id, { timeoutMs: bootSeconds * 1000 + marginMs })
        t.match(job, { state: 'FAILED', exitCode: '1:0', restarts: 0 }, what)
        t.equal(hasLines(job, output), undefined, `${what}:\n${job.output}`)
        t.match(job.adminComment, comment, `AdminComment: ${what}`)
        t.notMatch(job.adminComment, / \| |\[ +\d+\.\d+\]/, 'no console lines in AdminComment')
      }
      t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
    })
  })
})

t.test('a job that finds the address range full fails and says so', async (t) => {
  await withCluster(t, async (cluster) => {
    const image: TestImage = {
      name: 'full-range',
      changes: [
        [/addresses="[^"]*"/, 'addresses="10.79.0.0/30"'],
        [/max-per-node="16"( on-full="wait")?/, 'max-per-node="16" on-full="fail"'],
      ],
    }
    await withImages(cluster, [image], async () => {
      // The only address is another job's, so this one fails at once: it must not wait for what may never come.
      const options = ['--vm-image=full-range', '--mem=300']
      const holder = await submit(cluster, 'echo up; sleep 300', { arguments: options })
      const holds = async (): Promise<boolean> =>
        (await cluster.run(['vmrm', 'ps', String(holder)])).stdout.includes('committed')
      await until(`the VM of job ${holder}`, holds, marginMs)
      const late = await submit(cluster, 'echo up', { arguments: options })
      const job = await ended(cluster, late, { timeoutMs: marginMs })
      t.match(job, { state: 'FAILED', output: /1 wanted, 0 of 1 free\. Wait for other jobs to end/ })
      await cluster.run(['scancel', String(holder)])
      await ended(cluster, holder, { timeoutMs: marginMs })
      t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
    })
  })
})
