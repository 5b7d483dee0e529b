// The options of sbatch, srun and salloc: listed, checked before there is a job, taken from #SBATCH lines and the environment, the command line first.
import t from 'tap'
import { createSemaphore } from '../../lib/daemon/semaphore.ts'
import { type Jobs, withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

const programs = ['sbatch', 'srun', 'salloc'] as const
const options = ['--vm-image=', '--vm-per-node=', '--vm-script=', '--vm-strategy=', '--vm-checkpoint'] as const

/** Something for the program to run. */
const command = { sbatch: ['--wrap=true'], srun: ['true'], salloc: ['true'] } as const

const refusals: readonly { given: readonly string[]; environment?: Record<string, string>; says: RegExp }[] = [
  {
    given: ['--vm-image=tiny', '--vm-checkpoint'],
    says: /vmrm: --vm-checkpoint: checkpoints are not available in this version/,
  },
  {
    given: ['--vm-image=tiny', '--vm-checkpoint=preempt'],
    says: /vmrm: --vm-checkpoint: checkpoints are not available/,
  },
  {
    given: ['--vm-image=tiny'],
    environment: { VMRM_CHECKPOINT: 'preempt' },
    says: /vmrm: VMRM_CHECKPOINT: checkpoints are not available/,
  },
  {
    given: ['--vm-image=no such $(image)'],
    says: /vmrm: --vm-image: 'no such \$\(image\)' is not the name of an image/,
  },
  {
    given: [],
    environment: { VMRM_IMAGE: '../tiny' },
    says: /vmrm: VMRM_IMAGE: '\.\.\/tiny' is not the name of an image/,
  },
  { given: ['--vm-image=tiny', '--vm-per-node=0'], says: /vmrm: --vm-per-node: '0' is not a number of VMs/ },
  { given: ['--vm-image=tiny', '--vm-per-node=2x'], says: /vmrm: --vm-per-node: '2x' is not a number of VMs/ },
  { given: ['--vm-image=tiny', '--vm-script=both'], says: /vmrm: --vm-script: 'both' is neither guest nor host/ },
  { given: ['--vm-per-node=2'], says: /vmrm: --vm-per-node needs an image/ },
  { given: ['--vm-image=nosuch'], says: /vmrm:.*nosuch/ },
  { given: [], environment: { VMRM_IMAGE: 'nosuch' }, says: /vmrm:.*nosuch/ },
]

const hello =
  '#!/bin/sh\n#SBATCH --vm-image=tiny --vm-per-node=2 --cpus-per-task=2\nhostname\necho "$SLURM_SPANK_VMRM_IMAGE $SLURM_SPANK_VMRM_PER_NODE $SLURM_SPANK_VMRM_SCRIPT"\n'
const plain =
  '#!/bin/sh\nhostname\necho "$SLURM_SPANK_VMRM_IMAGE $SLURM_SPANK_VMRM_PER_NODE $SLURM_SPANK_VMRM_SCRIPT"\n'

/** Where the values come from, and the place and the values that the script must tell. */
const sources: readonly {
  readonly name: string
  readonly script: string
  readonly arguments?: readonly string[]
  readonly environment?: Record<string, string>
  readonly output: RegExp
}[] = [
  { name: 'lines of the script', script: hello, output: /^tiny-\d{4}\ntiny 2 guest\n$/ },
  {
    name: 'the command line in place of the script',
    script: hello,
    arguments: ['--vm-per-node=1'],
    output: /^tiny-\d{4}\ntiny 1 guest\n$/,
  },
  {
    name: 'the environment',
    script: plain,
    environment: { VMRM_IMAGE: 'tiny', VMRM_SCRIPT: 'host' },
    output: /^n\d\ntiny 1 host\n$/,
  },
  {
    name: 'the command line in place of the environment',
    script: plain,
    arguments: ['--vm-image=tiny', '--vm-script=guest'],
    environment: { VMRM_IMAGE: 'nosuch', VMRM_SCRIPT: 'host' },
    output: /^tiny-\d{4}\ntiny 1 guest\n$/,
  },
  {
    name: 'the script in place of the environment',
    script: hello,
    environment: { VMRM_PER_NODE: '1', VMRM_IMAGE: 'nosuch' },
    output: /^tiny-\d{4}\ntiny 2 guest\n$/,
  },
  {
    name: 'none, against the environment',
    script: plain,
    arguments: ['--vm-image=none'],
    environment: { VMRM_IMAGE: 'tiny' },
    output: /^n\d\nnone {2}\n$/,
  },
]

async function jobCount(jobs: Jobs): Promise<number> {
  return (await jobs.cluster.run(['squeue', '--all', '--states=all', '--noheader'])).stdout.split('\n').length
}

t.test('the options', (t) =>
  withJobs(t, 'options', async (jobs) => {
    for (const program of programs) {
      await t.test(`${program} --help lists them`, async (t) => {
        const { stdout } = await jobs.alice([program, '--help'])
        for (const option of options) t.match(stdout, option)
      })
    }

    await t.test('a bad value is refused by name before there is a job', async (t) => {
      const before = await jobCount(jobs)
      for (const { given, environment = {}, says } of refusals) {
        for (const program of programs) {
          const found = await jobs.alice([program, ...given, ...command[program]], { environment })
          t.match(found.stderr, says, [program, ...given, JSON.stringify(environment)].join(' '))
          // Slurm itself exits with 255 where an option is wrong, the plug-in with 1.
          t.match(found.exitCode, /^(1|255)$/)
        }
      }
      t.equal(await jobCount(jobs), before)
    })

    // More boots at a time than a machine has cores last longer than one after the other.
    const turns = createSemaphore(2)
    const bound = AbortSignal.timeout(400_000)
    const played = sources.map(({ script, arguments: given = [], environment = {} }) =>
      turns.run(() => jobs.run(script, { arguments: given, environment }), bound),
    )
    const steps = 'hostname; srun hostname; srun --vm-image=tiny hostname; srun --vm-image=none true'
    const srun = turns.run(() => jobs.alice(['srun', 'hostname'], { environment: { VMRM_IMAGE: 'tiny' } }), bound)
    const salloc = turns.run(() => jobs.alice(['salloc', '--vm-image=tiny', 'sh', '-c', steps]), bound)
    for (const [index, { name, output }] of sources.entries()) {
      await t.test(`sbatch takes them from ${name}`, async (t) => {
        const job = await played[index]
        t.match(job?.output, output)
        t.match(job?.fields, { JobState: 'COMPLETED' })
      })
    }
    t.match((await srun).stdout, /^tiny-\d{4}\n$/, 'srun takes them from the environment')
    const held = await salloc
    t.match(held.stdout, /^ctl\n(tiny-\d{4})\n\1\n$/, 'steps of an allocation run in its VM, and may say so')
    t.match(held.stderr, /vmrm: --vm-image=none: this job has --vm-image=tiny/, 'but not something else')
    t.equal(held.exitCode, 1)
    await Promise.allSettled(played)
  }),
)
