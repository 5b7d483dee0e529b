// Shell lines that are played twice, in a job on bare nodes and in one with VMs, and what of them is compared: stdout, stderr,
// exit code, the files they leave, and the job's accounting. One pair of jobs plays any number of lines, one after the other.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { accountOf, sharedFields } from './accounting.ts'
import { withoutChance } from './compare-jobs.ts'
import type { EndedJob, Jobs } from './job-cluster.ts'
import { type How, rightNames, rightPlay, tellPlaces } from './places.ts'

export interface Line {
  readonly name: string
  /** Run by bash with job control, in an empty folder of its own, for at most a minute (`lineSeconds`). */
  readonly line: string
  /** What it must end with on bare nodes. */
  readonly code: number
  /** What it must print there or leave in a file, so that the line does what its name says. */
  readonly says?: string | RegExp
  /** `any` where several processes write to one place. */
  readonly order?: 'any'
  /** Removed from both before they are compared: what users.md lists as different, and chance that is the line's own. */
  readonly unlike?: RegExp
  /** Names of hosts that its tasks print, found in stdout. */
  readonly hosts?: (stdout: string) => readonly string[]
}

export interface Play {
  readonly how: How
  readonly lines: readonly Line[]
  /** `salloc`: the lines run where it was typed, their steps in the job. `sbatch`: the lines are the batch script. */
  readonly program: 'salloc' | 'sbatch'
  readonly arguments: readonly string[]
  /** Added to alice's environment where the job is asked for; `HERE` stands for the play's own folder. EPILOG_SAYS is not left to the lines. */
  readonly environment?: Readonly<Record<string, string>>
  /** What a line may take; default 60. */
  readonly lineSeconds?: number
  /** Takes out of a row of the accounting what is chance, or documented to differ. */
  readonly shareOfRow?: (row: string) => string
}

interface Outcome {
  readonly code: string
  readonly stdout: readonly string[]
  readonly stderr: readonly string[]
  readonly files: Readonly<Record<string, readonly string[]>>
}

export interface Played {
  readonly job: EndedJob
  readonly outcomes: ReadonlyMap<string, Outcome>
  readonly account: readonly string[]
  /** By line, names of hosts that its tasks printed. */
  readonly hosts: ReadonlyMap<string, readonly string[]>
}

/** All lines of a job, on a machine that others use. */
const jobMs = 560_000

// A line that is late is ended with all it started: a step that lives on would keep the next ones from the job's CPUs.
const runner = ({ how, lineSeconds = 60 }: Play): string => `#!/bin/bash
cd ~/${how} || exit 1
unset EPILOG_SAYS
${tellPlaces}
for line in lines/*; do
  name=\${line##*/}
  mkdir "$name" && cd "$name" || exit 1
  timeout --signal=KILL ${lineSeconds} setsid --wait bash -c 'echo $$ >"../$1.session"; exec bash "../lines/$1"' bash "$name" \
    >"../$name.out" 2>"../$name.err" </dev/null
  code=$?
  [ $code = 137 ] && pkill -TERM --session "$(cat "../$name.session")"
  rm -f "../$name.session"
  echo $code >"../$name.code"
  cd ..
done
exit 3
`

const numbered = (index: number): string => String(index).padStart(3, '0')

/** The home of a play, and its lines as files in it. */
async function prepare(jobs: Jobs, play: Play): Promise<void> {
  const made = await jobs.alice(['sh', '-c', 'rm -rf "$1" && mkdir -p "$1/lines"', 'sh', play.how])
  if (made.exitCode !== 0) throw new Error(made.stderr)
  writeFileSync(jobs.home(`${play.how}/play.sh`), runner(play))
  for (const [index, { line }] of play.lines.entries())
    writeFileSync(jobs.home(`${play.how}/lines/${numbered(index)}`), `set -m\n${line}\n`)
}

async function startAndEnd(
  jobs: Jobs,
  { how, program, arguments: more, environment: given = {} }: Play,
): Promise<number> {
  const argv = program === 'salloc' ? ['bash', `${how}/play.sh`] : [`${how}/play.sh`]
  const own = program === 'salloc' ? [] : ['--wait', `--output=${how}/batch.out`]
  const pairs = Object.entries(given).map(([name, value]) => [name, value.replaceAll('HERE', `/home/alice/${how}`)])
  const options = { timeoutMs: jobMs, environment: Object.fromEntries(pairs) }
  const found = await jobs.alice([program, '--job-name=play', ...own, ...more, ...argv], options)
  const id = Number(/(?:Granted job allocation|Submitted batch job) (\d+)/.exec(found.stderr + found.stdout)?.[1])
  if (!(id > 0)) throw new Error(`${program}: ${found.stderr}`)
  return id
}

/** Ids of a cluster with accounting are large: no other number is taken for one. */
function withoutIds(text: string, id: number): string {
  return withoutChance(text, id).replaceAll(new RegExp(`(?<!\\d)${id}(?!\\d)`, 'g'), 'ID')
}

function readOutcome(jobs: Jobs, play: Play, index: number, id: number): Outcome {
  const base = jobs.home(`${play.how}/${numbered(index)}`)
  const { order, unlike } = play.lines[index] ?? {}
  const clean = (text: string): string[] => {
    const lines = withoutIds(text.replaceAll(`/home/alice/${play.how}/`, 'HERE/'), id).split('\n')
    const kept = unlike === undefined ? lines : lines.filter((line) => !unlike.test(line))
    return order === 'any' ? kept.sort() : kept
  }
  const read = (path: string): string[] => clean(readFileSync(path, 'latin1'))
  const names = readdirSync(base, { recursive: true, encoding: 'utf8' })
  const files = names.filter((name) => statSync(join(base, name)).isFile())
  return {
    code: readFileSync(`${base}.code`, 'utf8').trim(),
    stdout: read(`${base}.out`),
    // srun, slurmstepd and vmrm-run write at the same time: which is first is chance.
    stderr: read(`${base}.err`).sort(),
    files: Object.fromEntries(files.map((name) => [withoutIds(name, id), read(join(base, name))])),
  }
}

/** Of the lines that tell hosts; before any name is replaced. */
function readHosts(jobs: Jobs, { how, lines }: Play): Map<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  for (const [index, { name, hosts }] of lines.entries()) {
    if (hosts === undefined) continue
    found.set(name, hosts(readFileSync(jobs.home(`${how}/${numbered(index)}.out`), 'latin1')))
  }
  return found
}

/** Plays all lines in one job of its own. Throws where the job could not be had; a line that fails is what is looked for. */
export async function playLines(jobs: Jobs, play: Play): Promise<Played> {
  await prepare(jobs, play)
  const id = await startAndEnd(jobs, play)
  const job = await jobs.ended(id)
  const outcomes = new Map<string, Outcome>()
  for (const [index, { name }] of play.lines.entries()) outcomes.set(name, readOutcome(jobs, play, index, id))
  return { job, outcomes, account: await accountOf(jobs, id), hosts: readHosts(jobs, play) }
}

/** Plays them both ways at the same time, and holds one against the other. */
export async function sameLines(
  t: Test,
  jobs: Jobs,
  play: Omit<Play, 'how'> & { vm: readonly string[] },
): Promise<void> {
  const [plain, vm] = await Promise.all([
    playLines(jobs, { ...play, how: 'plain' }),
    playLines(jobs, { ...play, how: 'vm', arguments: [...play.arguments, ...play.vm] }),
  ])
  for (const [how, { hosts }] of [['plain', plain] as const, ['vm', vm] as const]) {
    rightPlay(t, how, play.program, jobs.home(how))
    for (const [name, found] of hosts) rightNames(t, how, found, `tasks of “${name}”`)
  }
  for (const { name, code, says } of play.lines) {
    await t.test(name, async (t) => {
      const wanted = plain.outcomes.get(name)
      t.equal(wanted?.code, String(code), 'on bare nodes it ends as the test means it')
      if (says !== undefined) t.match(JSON.stringify(wanted), says)
      t.same(vm.outcomes.get(name), wanted)
    })
  }
  const rowsOf = ({ account }: Played): string[] => account.map(play.shareOfRow ?? ((row) => row))
  t.same(rowsOf(vm), rowsOf(plain), 'the same in the accounting')
  t.same(sharedFields(vm.job.fields), sharedFields(plain.job.fields), 'the same for the controller')
}
