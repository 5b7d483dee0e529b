// How a job ends: state, exit codes and what its traps saw are those of the same job without a VM. Each case runs both ways on one cluster.
import t from 'tap'
import { createSemaphore } from '../../lib/daemon/semaphore.ts'
import { withoutChance } from '../support/compare-jobs.ts'
import { type EndedJob, type Jobs, withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

interface Case {
  readonly name: string
  readonly script: string
  readonly arguments?: readonly string[]
  /** What is done to the job once its output has `ready`. */
  readonly act?: (jobs: Jobs, id: number) => Promise<void>
  /** Proves that the case did what its name says. */
  readonly wanted: { readonly JobState: string; readonly ExitCode: string }
  readonly said?: readonly string[]
  /** Default `seconds`. Those of minutes do not keep others waiting. */
  readonly length?: 'seconds' | 'minutes'
}

/** A script that names the signals it gets, with a child that does the same; ALRM ends both. */
const listener = `#!/bin/bash
listen() { for signal in USR1 USR2 HUP TERM; do trap "echo $1 got $signal" $signal; done; }
there=/tmp/there-$SLURM_JOB_ID
(listen child; echo child is there; : >$there; while :; do sleep 0.2; done) &
child=$!
finish() { kill -KILL $child; exit 3; }
listen script
trap finish ALRM
while [ ! -e $there ]; do sleep 0.1; done
rm $there
echo ready
while :; do sleep 0.2; done
`

async function scancel(jobs: Jobs, ...argv: string[]): Promise<void> {
  const found = await jobs.alice(['scancel', ...argv])
  if (found.exitCode !== 0) throw new Error(`scancel ${argv.join(' ')}: ${found.stderr}`)
}

const byItself = (name: string, line: string, JobState: string, ExitCode: string): Case => ({
  name,
  script: `#!/bin/bash\necho before\n${line}\n`,
  wanted: { JobState, ExitCode },
  said: ['before'],
})

const cases: readonly Case[] = [
  byItself('exit code 0', 'exit 0', 'COMPLETED', '0:0'),
  byItself('exit code 7', 'exit 7', 'FAILED', '7:0'),
  byItself('exit code 255', 'exit 255', 'FAILED', '255:0'),
  byItself('its own SIGKILL', 'kill -KILL $$', 'FAILED', '0:9'),
  byItself('its own SIGTERM', 'kill -TERM $$', 'FAILED', '0:15'),
  byItself('its own SIGSEGV', 'kill -SEGV $$', 'FAILED', '0:11'),
  byItself('a command that is not there', 'nosuchcommand --at-all', 'FAILED', '127:0'),
  byItself('a folder as a command', '/tmp', 'FAILED', '126:0'),
  {
    name: 'an interpreter that is not there',
    script: '#!/no/such/interpreter\n',
    wanted: { JobState: 'FAILED', ExitCode: '2:0' },
  },
  {
    name: 'scancel, with a trap that ends it',
    script: `#!/bin/bash\ntrap 'echo got TERM; exit 5' TERM\necho ready\nwhile :; do sleep 0.2; done\n`,
    act: (jobs, id) => scancel(jobs, String(id)),
    wanted: { JobState: 'CANCELLED', ExitCode: '5:0' },
    said: ['got TERM'],
  },
  {
    name: 'scancel of one that takes no notice of TERM',
    script: `#!/bin/bash\ntrap 'echo got TERM' TERM\necho ready\nwhile :; do sleep 0.2; done\n`,
    act: (jobs, id) => scancel(jobs, String(id)),
    wanted: { JobState: 'CANCELLED', ExitCode: '0:9' },
    said: ['got TERM'],
  },
  {
    name: 'scancel --signal, without and with --batch and --full',
    script: listener,
    act: async (jobs, id) => {
      await scancel(jobs, '--signal=USR2', String(id))
      await scancel(jobs, '--signal=USR1', '--batch', String(id))
      await jobs.awaitOutput(id, 'script got USR1')
      await scancel(jobs, '--signal=HUP', '--full', String(id))
      await jobs.awaitOutput(id, 'script got HUP')
      await jobs.awaitOutput(id, 'child got HUP')
      await scancel(jobs, '--signal=ALRM', '--batch', String(id))
    },
    wanted: { JobState: 'FAILED', ExitCode: '3:0' },
  },
  {
    // Slurm looks twice a minute, so the signal comes 70 to 100 s after the job's start: a boot on a busy machine has ended by then.
    name: '--signal=B:USR1@20, which is for the script alone',
    script: listener.replace('listen script', "listen script; trap 'echo script got USR1; finish' USR1"),
    arguments: ['--time=2', '--signal=B:USR1@20'],
    wanted: { JobState: 'FAILED', ExitCode: '3:0' },
    said: ['script got USR1'],
    length: 'minutes',
  },
  {
    // With proctrack/cgroup Slurm (22.05) sends TERM to the script alone.
    name: 'the time limit',
    script: listener,
    arguments: ['--time=1'],
    wanted: { JobState: 'TIMEOUT', ExitCode: '0:9' },
    said: ['script got TERM', 'DUE TO TIME LIMIT'],
    length: 'minutes',
  },
]

async function play(jobs: Jobs, each: Case, more: readonly string[]): Promise<EndedJob> {
  const id = await jobs.submit(each.script, { arguments: [...(each.arguments ?? []), ...more] })
  if (each.act !== undefined) {
    await jobs.awaitOutput(id, 'ready')
    await each.act(jobs, id)
  }
  return jobs.ended(id)
}

function summary({ id, fields, output }: EndedJob): object {
  const { JobState, ExitCode, DerivedExitCode, Reason } = fields
  // Two processes write to one file: which line is first is chance.
  return { JobState, ExitCode, DerivedExitCode, Reason, lines: withoutChance(output, id).split('\n').sort() }
}

t.test('a batch script in a VM ends as one on the node does, by', (t) =>
  withJobs(t, 'endings', async (jobs) => {
    const turns = createSemaphore(2)
    const bound = AbortSignal.timeout(400_000)
    const start = (each: Case, run: (more: readonly string[]) => Promise<EndedJob>) =>
      [each, Promise.allSettled([run([]), run(['--vm-image=tiny'])])] as const
    // A boot counts in the job's time, so those with a time limit boot before the others; these run while they wait.
    const areReady: Promise<void>[] = []
    const long = cases.filter((each) => each.length === 'minutes')
    const begun = long.map((each) =>
      start(each, async (more) => {
        const ready = Promise.withResolvers<void>()
        areReady.push(ready.promise)
        return play(jobs, { ...each, act: async () => ready.resolve() }, more).finally(ready.resolve)
      }),
    )
    await Promise.all(areReady)
    const short = cases.filter((each) => each.length !== 'minutes')
    const played = new Map([
      ...begun,
      ...short.map((each) => start(each, (more) => turns.run(() => play(jobs, each, more), bound))),
    ])
    for (const each of cases) {
      await t.test(each.name, async (t) => {
        const [plain, vm] = (await played.get(each)) ?? []
        if (plain?.status !== 'fulfilled') throw plain?.reason
        if (vm?.status !== 'fulfilled') throw vm?.reason
        t.match(plain.value.fields, each.wanted, 'without a VM it ends as the test means it')
        for (const text of each.said ?? []) t.match(plain.value.output, text)
        t.same(summary(vm.value), summary(plain.value))
      })
    }
    await Promise.allSettled(played.values())
  }),
)
