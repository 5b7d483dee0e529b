// What a batch script and a step find around them: user, folder, environment, arguments, limits. It must be what the same job
// finds without a VM, but for what is named here. Each script runs both ways on one cluster and writes its facts to the shared home.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

/** Hostile to anything that passes it through a shell. */
const hostile = {
  HOSTILE_LINES: 'first\nsecond\n\n  third ',
  HOSTILE_SHELL: '$(touch /home/alice/pwned) `touch /home/alice/pwned` ; touch /home/alice/pwned',
  HOSTILE_QUOTES: `it's "quoted" \\ and \\n not`,
  HOSTILE_BYTES: 'Grüße, 世界 \u0001 \u001b[31m',
  HOSTILE_EMPTY: '',
  HOSTILE_LONG: 'x'.repeat(60_000),
  TMPDIR: '/tmp/of alice',
}
const folder = "a folder; it's $(odd)"
const words = ['two words', '', '$(touch /home/alice/pwned)', '*', 'line\nbreak', '--vm-image=none', `"'\\`, 'ü']

/** Writes the facts of a process to files NAME.*. */
const facts = `
  env -0 >"$1.env"
  { id -u; id -g; id -G; id -un; id -Gn; } >"$1.identity"
  { pwd; umask; echo "$HOME"; } >"$1.place"
  shift_name=$1; shift
  printf '%s\\0' "$@" >"$shift_name.arguments"
  for limit in n s c d v t f x; do ulimit -$limit; done >"$shift_name.limits"
  : >made-by-$(basename "$shift_name")
  ls -ln made-by-$(basename "$shift_name") | cut -d' ' -f1,3,4 >"$shift_name.file"
  grep -E '^Sig(Blk|Ign|Cgt)|^NoNewPrivs' /proc/self/status >"$shift_name.signals"
  hostname >"$shift_name.host"
`

const shebangs = {
  sh: '#!/bin/sh',
  env: '#!/usr/bin/env bash',
  space: '#! /bin/bash -e',
  sed: '#!/usr/bin/sed -n $p',
} as const

/** Differ between any two jobs, or tell of the VM. */
const ownOfAJob =
  /^(SLURM_(JOB_?ID|TASK_PID|STEP_LAUNCHER_PORT|LAUNCH_NODE_IPADDR|SRUN_COMM_PORT|SRUN_COMM_HOST|STEPMGR|SPANK_\w+)|SLURM_WORKING_CLUSTER|SRUN_DEBUG|_|SHLVL|BASH_\w+|OLDPWD|VMRM_(HOSTFILE|MACHINEFILE))=/

function environmentOf(jobs: Jobs, name: string): string[] {
  const text = readFileSync(jobs.home(`${name}.env`), 'utf8')
  return text
    .split('\0')
    .filter((entry) => !ownOfAJob.test(entry))
    .sort()
}

const submission = (argv: readonly string[]): string[] => [
  ...['bash', '-c', 'umask 027; cd "$1" && shift; ulimit -S -n 1234; ulimit -S -c 0; exec "$@"', 'bash', folder],
  ...argv,
]

async function playBatch(jobs: Jobs, name: string, more: readonly string[]): Promise<void> {
  const argv = [
    'sbatch',
    '--wait',
    `--output=${name}.out`,
    '--nodelist=n1',
    ...more,
    '../facts.sh',
    `/home/alice/${name}`,
    ...words,
  ]
  const found = await jobs.alice(submission(argv), { environment: hostile })
  if (found.exitCode !== 0)
    throw new Error(`${found.stderr}${readFileSync(jobs.home(`${folder}/${name}.out`), 'utf8')}`)
}

async function playStep(jobs: Jobs, name: string, more: readonly string[]): Promise<void> {
  const argv = ['srun', '--nodelist=n1', ...more, '../facts.sh', `/home/alice/${name}`, ...words]
  const found = await jobs.alice(submission(argv), { environment: hostile })
  if (found.exitCode !== 0) throw new Error(found.stderr)
}

t.test('in a VM', (t) =>
  withJobs(t, 'context', async (jobs) => {
    mkdirSync(jobs.home(folder))
    const { exitCode } = await jobs.cluster.run(['chown', 'alice:alice', `/home/alice/${folder}`])
    t.equal(exitCode, 0)
    writeFileSync(jobs.home('facts.sh'), `#!/bin/bash\n${facts}`, { mode: 0o755 })
    const vm = '--vm-image=tiny'
    await Promise.all([
      playBatch(jobs, 'batch.plain', []).then(() => playStep(jobs, 'step.plain', [])),
      playBatch(jobs, 'batch.vm', [vm]),
      playStep(jobs, 'step.vm', [vm]),
    ])

    for (const kind of ['batch', 'step']) {
      await t.test(`a ${kind === 'batch' ? 'batch script' : 'step'} finds`, async (t) => {
        const read = (how: string, fact: string) => readFileSync(jobs.home(`${kind}.${how}.${fact}`), 'utf8')
        t.match(read('vm', 'host'), /^tiny-\d{4}\n$/, 'a VM around it')
        t.equal(read('plain', 'host'), 'n1\n')
        for (const fact of ['identity', 'place', 'arguments', 'limits', 'file', 'signals']) {
          t.equal(read('vm', fact), read('plain', fact), `the same ${fact}`)
        }
        t.match(read('vm', 'identity'), '2001\n2001\n2001 2100\nalice\nalice proj\n')
        t.equal(read('vm', 'place'), `/home/alice/${folder}\n0027\n/home/alice\n`)
        t.equal(read('vm', 'arguments'), words.map((word) => `${word}\0`).join(''))
        t.match(read('vm', 'limits'), /^1234\n/)
        const found = environmentOf(jobs, `${kind}.vm`)
        t.same(found, environmentOf(jobs, `${kind}.plain`), 'the same environment')
        for (const [name, value] of Object.entries(hostile)) {
          t.ok(found.includes(`${name}=${value}`), `${name} as it was`)
        }
      })
    }
    t.equal((await jobs.alice(['ls', 'pwned'])).exitCode, 2, 'no value was ever run')

    await t.test('a script is run by what its first line names', async (t) => {
      const play = async ([name, line]: readonly [string, string], more: readonly string[]) => {
        writeFileSync(
          jobs.home(`${name}.sh`),
          `${line}\necho "I am $0 with $# arguments: $*"\necho "\${BASH_VERSION:-no bash}"\n# end\n`,
        )
        const output = `${name}${more.length}.out`
        const argv = ['sbatch', '--wait', `--output=${output}`, ...more, `${name}.sh`, 'a', 'b  c']
        const { exitCode } = await jobs.alice(argv)
        return { exitCode, output: readFileSync(jobs.home(output), 'utf8').replaceAll(/job\d+/g, 'jobID') }
      }
      const all = Object.entries(shebangs)
      const [plain, inVm] = await Promise.all([
        Promise.all(all.map((each) => play(each, []))),
        Promise.all(all.map((each) => play(each, [vm]))),
      ])
      for (const [index, [, line]] of all.entries()) {
        t.ok((plain[index]?.output.length ?? 0) > 5)
        t.same(inVm[index], plain[index], line)
      }
    })
  }),
)
