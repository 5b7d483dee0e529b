// How steps end: srun's exit code, its words, and what the tasks' traps saw are those of the same step without a VM. All cases are
// steps of one allocation, one after the other, so this also shows that a VM takes any number of steps.
import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { withoutChance } from '../support/compare-jobs.ts'
import { withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

/** Waits in a task until something was printed to a file, without a bound of its own: the test has one. */
const waitFor = (text: string, file: string): string =>
  `while ! grep -q '${text}' ${file} 2>/dev/null; do sleep 0.1; done`

/** What each step runs, by name: a line of the script that salloc runs, and what plain Slurm must make of it (`code`: srun's). */
const steps: readonly { name: string; line: string; code: number }[] = [
  // The first step is number 0, which scancel needs to know.
  {
    name: 'scancel of a signal to a step',
    line: `srun --output=signals.$how bash -c 'trap "echo task got USR1; exit 9" USR1; echo ready; while :; do sleep 0.2; done' & ${waitFor('ready', 'signals.$how')}; scancel --signal=USR1 $SLURM_JOB_ID.0; wait $!`,
    code: 9,
  },
  {
    // Slurm kills it at once.
    name: 'scancel of a step',
    line: `srun --output=cancel.$how bash -c 'trap "echo task got TERM; exit 5" TERM; echo ready; while :; do sleep 0.2; done' & ${waitFor('ready', 'cancel.$how')}; scancel $SLURM_JOB_ID.1; wait $!`,
    code: 137,
  },
  { name: 'exit code 0', line: `srun sh -c 'exit 0'`, code: 0 },
  { name: 'exit code 7', line: `srun sh -c 'exit 7'`, code: 7 },
  { name: 'exit code 255', line: `srun sh -c 'exit 255'`, code: 255 },
  { name: 'SIGKILL', line: `srun sh -c 'kill -KILL $$'`, code: 137 },
  { name: 'SIGTERM', line: `srun sh -c 'kill -TERM $$'`, code: 143 },
  { name: 'SIGSEGV', line: `srun sh -c 'kill -SEGV $$'`, code: 139 },
  { name: 'several tasks, of which one fails', line: `srun -n3 -O sh -c 'exit $SLURM_PROCID'`, code: 2 },
  {
    name: 'one bad exit ends the step',
    line: `srun -n2 -O -K sh -c '[ $SLURM_PROCID = 1 ] && exit 4; sleep 300'`,
    code: 143,
  },
  { name: 'no such command', line: 'srun nosuchcommand', code: 2 },
  { name: 'no such path', line: 'srun /no/such/path', code: 2 },
  { name: 'a folder as a command', line: 'srun /tmp', code: 13 },
  { name: 'a file without the right to run', line: 'srun ./not-executable', code: 13 },
  { name: 'a program of no known format', line: 'srun ./no-format', code: 8 },
  {
    name: 'arguments are data',
    line: `srun printf '<%s>' 'a b' '$(id)' '' '*' "\`x\`" $'line\\nbreak'; echo`,
    code: 0,
  },
  {
    name: 'Ctrl-C, twice',
    line: `srun --output=interrupt.$how bash -c 'trap "echo task got INT; exit 6" INT; echo ready; while :; do sleep 0.2; done' & ${waitFor('ready', 'interrupt.$how')}; kill -INT $!; sleep 0.3; kill -INT $!; wait $!`,
    code: 137,
  },
  {
    name: 'USR2 to srun is passed on',
    line: `srun --output=usr2.$how bash -c 'trap "echo task got USR2; exit 12" USR2; echo ready; while :; do sleep 0.2; done' & ${waitFor('ready', 'usr2.$how')}; kill -USR2 $!; wait $!`,
    code: 12,
  },
  { name: 'stdin from a pipe', line: `seq 5 | srun -n2 -O --label cat | sort`, code: 0 },
  { name: 'stdin for one task only', line: `seq 3 | srun -n2 -O --input=1 --label cat`, code: 0 },
  { name: 'no stdin', line: `srun --input=none cat`, code: 0 },
  {
    name: 'output files of tasks',
    line: `srun -n2 -O --output=task-%t.$how sh -c 'echo I am $SLURM_PROCID'; cat task-0.$how task-1.$how`,
    code: 0,
  },
  { name: 'stdout and stderr apart', line: `srun sh -c 'echo out; echo err >&2' 2>/dev/null`, code: 0 },
]
/** Job control is on, so that a background srun heeds SIGINT as one at a terminal does. */
function transcriptScript(): string {
  const parts = steps.map(({ name, line }) => `echo '== ${name}'\n${line}\necho "-> $?"`)
  return `set -m\nset -o pipefail\nexport how=$1\nexec 2>&1\n${parts.join('\n')}\nexit 3\n`
}

/** The transcript's part of each case. */
function partsOf(transcript: string): Map<string, string> {
  const parts = transcript.split(/^== /m).slice(1)
  return new Map(parts.map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1)]))
}

/** What the tasks' traps print, by file. */
const traps = { signals: 'task got USR1', cancel: 'CANCELLED', interrupt: 'CANCELLED', usr2: 'task got USR2' } as const

t.test('steps in a VM end as steps on the node do', (t) =>
  withJobs(t, 'steps', async (jobs) => {
    writeFileSync(jobs.home('not-executable'), '#!/bin/sh\n', { mode: 0o644 })
    writeFileSync(jobs.home('no-format'), '\0\0\0\0', { mode: 0o755 })
    writeFileSync(jobs.home('steps.sh'), transcriptScript())
    const play = async (how: string, more: readonly string[]) => {
      const found = await jobs.alice(['salloc', '--nodelist=n1', '--ntasks=1', ...more, 'bash', 'steps.sh', how])
      const id = Number(/Granted job allocation (\d+)/.exec(found.stderr)?.[1])
      return { found, job: await jobs.ended(id), parts: partsOf(withoutChance(found.stdout, id)) }
    }
    const [plain, vm] = await Promise.all([play('plain', []), play('vm', ['--vm-image=tiny'])])
    for (const { name, code } of steps) {
      await t.test(name, async (t) => {
        const wanted = plain.parts.get(name) ?? ''
        t.match(wanted, new RegExp(`^-> ${code}$`, 'm'), 'without a VM it ends as the test means it')
        t.same(lines(vm.parts.get(name)), lines(wanted))
      })
    }
    for (const [name, text] of Object.entries(traps)) {
      const read = (how: string, { job }: typeof plain) =>
        lines(withoutChance(readFileSync(jobs.home(`${name}.${how}`), 'utf8'), job.id))
      t.match(read('plain', plain).join('\n'), text)
      t.same(read('vm', vm), read('plain', plain), `what the traps saw: ${name}`)
    }
    const ending = ({ found, job }: typeof plain) => [
      found.exitCode,
      job.fields.JobState,
      job.fields.ExitCode,
      job.fields.DerivedExitCode,
    ]
    t.same(ending(vm), ending(plain))
  }),
)

/** srun and slurmstepd write at the same time: which is first is chance. */
function lines(text = ''): string[] {
  return text.split('\n').sort()
}
