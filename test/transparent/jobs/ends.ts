// How batch jobs end: exit codes, signals from every side, time limits, and what the scripts' traps saw of them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JobCase, Submitted } from '../../support/same-jobs.ts'
import { until } from '../../support/until.ts'

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

export async function command({ jobs }: Submitted, ...argv: string[]): Promise<void> {
  const found = await jobs.alice(argv)
  if (found.exitCode !== 0) throw new Error(`${argv.join(' ')}: ${found.stderr}`)
}

const hasSaid = ({ folder }: Submitted, text: string) =>
  until(`${text} in ${folder}/out`, () => readFileSync(join(folder, 'out'), 'latin1').includes(text), 180_000)

const scancel = (job: Submitted, ...options: string[]) => command(job, 'scancel', ...options, String(job.id))

const byItself = (name: string, line: string, ...ends: string[]): JobCase => ({
  name,
  script: `#!/bin/bash\necho before\n${line}\n`,
  ends,
  says: ['before'],
})

export const ends: readonly JobCase[] = [
  {
    // Slurm looks twice a minute, so the signal comes 70 to 100 s after the job's start: a boot on a busy machine has ended by then.
    name: '--signal=B:USR1@20, which is for the script alone',
    script: listener.replace('listen script', "listen script; trap 'echo script got USR1; finish' USR1"),
    arguments: ['--time=2', '--signal=B:USR1@20'],
    ends: ['FAILED 3:0'],
    says: ['script got USR1'],
    isFirst: true,
  },
  {
    // With proctrack/cgroup Slurm (22.05) sends TERM to the script alone.
    name: 'the time limit',
    script: listener,
    arguments: ['--time=1'],
    ends: ['TIMEOUT 0:0'],
    says: ['script got TERM', 'DUE TO TIME LIMIT'],
    isFirst: true,
  },
  byItself('its own SIGKILL', 'kill -KILL $$', 'FAILED 0:9'),
  byItself('its own SIGTERM', 'kill -TERM $$', 'FAILED 0:15'),
  byItself('a command that is not there', 'nosuchcommand --at-all', 'FAILED 127:0'),
  byItself('a folder as a command', '/tmp', 'FAILED 126:0'),
  {
    name: 'an interpreter that is not there',
    script: '#!/no/such/interpreter\n',
    ends: ['FAILED 2:0'],
  },
  {
    name: 'scancel, with a trap that ends it',
    script: `#!/bin/bash\ntrap 'echo got TERM; exit 5' TERM\necho ready\nwhile :; do sleep 0.2; done\n`,
    act: (job) => scancel(job),
    ends: ['CANCELLED by 2001 0:0'],
    says: ['got TERM', '"ExitCode":"5:0"'],
  },
  {
    name: 'scancel of one that takes no notice of TERM',
    script: `#!/bin/bash\ntrap 'echo got TERM' TERM\necho ready\nwhile :; do sleep 0.2; done\n`,
    act: (job) => scancel(job),
    ends: ['CANCELLED by 2001 0:0'],
    says: ['got TERM', '"ExitCode":"0:9"'],
  },
  {
    name: 'scancel --signal, without and with --batch and --full',
    script: listener,
    act: async (job) => {
      await scancel(job, '--signal=USR2')
      await scancel(job, '--signal=USR1', '--batch')
      await hasSaid(job, 'script got USR1')
      await scancel(job, '--signal=HUP', '--full')
      await hasSaid(job, 'script got HUP')
      await hasSaid(job, 'child got HUP')
      await scancel(job, '--signal=ALRM', '--batch')
    },
    ends: ['FAILED 3:0'],
  },
]
