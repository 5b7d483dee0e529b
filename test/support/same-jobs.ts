// Batch jobs that are submitted twice, for bare nodes and with VMs, all at the same time, and what of them is compared: what sbatch
// said, the files they leave, what the controller says and the accounting. The cluster must be up with `--accounting`.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createSemaphore } from '../../lib/daemon/semaphore.ts'
import { accountOf, sharedFields } from './accounting.ts'
import { withoutChance } from './compare-jobs.ts'
import type { Jobs } from './job-cluster.ts'
import { type How, rightPlaces, tellingScript, toldBeside } from './places.ts'
import { until } from './until.ts'

export interface JobCase {
  readonly name: string
  /** The script `job.sh`; undefined: the arguments have `--wrap`. */
  readonly script?: string
  /** Of sbatch, which is started in an empty folder of the case, `HERE`. `--output=out` stands before them. */
  readonly arguments?: readonly string[]
  /** Added to alice's environment at submission. */
  readonly environment?: Readonly<Record<string, string>>
  /** Submitted when this case's job is there: its id stands for `EARLIER` in the arguments. */
  readonly after?: string
  /** What is done to the job once `out` has `ready`; `at-once`: as soon as it is submitted. */
  readonly act?: (job: Submitted) => Promise<void>
  readonly actAt?: 'at-once'
  /** State and exit code of the job, as sacct has them: the case does on bare nodes what its name says. Of an array each task's. */
  readonly ends: readonly string[]
  /** Of what is compared, words that must be there. */
  readonly says?: readonly (string | RegExp)[]
  /** Started before the others: its time limit counts while its VM boots. */
  readonly isFirst?: true
  /** Removed from both before they are compared: what users.md lists as different. */
  readonly unlike?: RegExp
}

export interface Submitted {
  readonly jobs: Jobs
  readonly id: number
  /** Path on this machine of the case's folder. */
  readonly folder: string
}

interface JobOutcome {
  readonly sbatch: { readonly code: number; readonly stdout: string; readonly stderr: string }
  readonly files: Readonly<Record<string, readonly string[]>>
  readonly records: readonly Readonly<Record<string, string>>[]
  readonly account: readonly string[]
}

const boundMs = 400_000
/** So many ask at a time: of more some would wait longer for the check of their image than the plug-in does. */
const submissions = createSemaphore(3)

/** Of the eight that a node has: so many VMs boot at the same time. */
const few = ['--gres=fake:3']
/** A controller that does not answer within 5 s at submit, on a busy machine, is worth a warning and nothing else. */
const unchecked = /^vmrm: warning: the image could not be checked before submitting .*\n?/m
const idOf = (text: string): number => Number(/\d+/.exec(text)?.[0])

/** Ids of a cluster with accounting are large: no other number is taken for one. An array's tasks have ids of their own. */
const cleanText = (text: string, id: number): string =>
  withoutChance(text, id)
    .replaceAll(new RegExp(`(?<!\\d)0*${id}(?!\\d)`, 'g'), 'ID')
    .replaceAll(/(?<!\d)61\d{3}(?!\d)/g, 'OTHER')

function filesOf({ id, folder }: Submitted, { unlike }: JobCase): Record<string, readonly string[]> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const files = names.filter((name) => statSync(join(folder, name)).isFile())
  // Two processes write to one file: which line is first is chance.
  const linesOf = (name: string): string[] =>
    cleanText(readFileSync(join(folder, name), 'latin1'), id)
      .replaceAll(/\/home\/alice\/(plain|vm)\//g, 'HERE/')
      .split('\n')
      .filter((line) => unlike === undefined || !unlike.test(line))
      .sort()
  return Object.fromEntries(files.map((name) => [cleanText(name, id), linesOf(name)]))
}

async function recordsOf({ jobs, id }: Submitted): Promise<Record<string, string>[]> {
  const { stdout } = await jobs.cluster.run(['scontrol', '--details', '--oneliner', 'show', 'job', String(id)])
  const records = stdout.split('\n').filter((line) => line !== '')
  return records.map((line) => {
    const fields = [...line.matchAll(/(?:^|\s)([A-Za-z/:]+)=(\S*)/g)].map(([, name = '', value = '']) => [name, value])
    return sharedFields(Object.fromEntries(fields.map(([name, value]) => [name, cleanText(value ?? '', id)])))
  })
}

/** One case one way: submitted, acted on, and its outcome once `areOver` says that all jobs have ended. */
interface Play {
  readonly submitted: Promise<Submitted>
  readonly ready: Promise<void>
  readonly outcome: (areOver: Promise<void>) => Promise<JobOutcome>
  /** What its scripts told once it was over. */
  readonly places: () => string[]
}

/** Submits it from a folder of its own, `how` and the number say which. */
function playJob(
  jobs: Jobs,
  each: JobCase,
  { place, more, earlier }: { place: string; more: readonly string[]; earlier: Promise<Submitted> | undefined },
): Play {
  const folder = jobs.home(place)
  const outOf = (): string => {
    const path = join(folder, 'out')
    return statSync(path, { throwIfNoEntry: false }) === undefined ? '' : readFileSync(path, 'latin1')
  }
  const argvOf = async (): Promise<string[]> => {
    const id = String((await earlier)?.id)
    const own = (each.arguments ?? []).map((argument) =>
      argument.replaceAll('EARLIER', id).replaceAll('HERE', `/home/alice/${place}`),
    )
    return ['sbatch', '--output=out', ...more, ...own, ...(each.script === undefined ? [] : ['job.sh', 'an argument'])]
  }
  const submit = async () => {
    const argv = await argvOf()
    const made = await jobs.alice(['mkdir', '-p', place])
    if (made.exitCode !== 0) throw new Error(made.stderr)
    if (each.script !== undefined)
      writeFileSync(join(folder, 'job.sh'), tellingScript(each.script, place), { mode: 0o755 })
    const options = { timeoutMs: boundMs, environment: each.environment ?? {} }
    const call = () => jobs.alice(['sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh', place, ...argv], options)
    // One that waits for its job's end must not keep others from being submitted.
    return argv.includes('--wait') ? call() : submissions.run(call, AbortSignal.timeout(boundMs))
  }
  const answered = submit()
  const submitted = answered.then((answer): Submitted => {
    const id = idOf(answer.stdout)
    if (!(id > 0)) throw new Error(`sbatch: ${answer.stderr}`)
    return { jobs, id, folder }
  })
  const isOut = () => until(`a line in ${place}/out`, () => /^ready$/m.test(outOf()), boundMs)
  const ready = submitted.then(async () => {
    if (each.actAt !== 'at-once' && (each.act !== undefined || each.isFirst === true)) await isOut()
  })
  const acted = Promise.all([submitted, ready]).then(([job]) => each.act?.(job))
  const outcome = async (areOver: Promise<void>): Promise<JobOutcome> => {
    const [{ exitCode: code, stdout, stderr }, job] = await Promise.all([answered, submitted, acted])
    await areOver
    const rows = await accountOf(jobs, job.id)
    return {
      sbatch: {
        code: code ?? -1,
        stdout: cleanText(stdout, job.id),
        stderr: cleanText(stderr.replace(unchecked, ''), job.id),
      },
      files: filesOf(job, each),
      records: await recordsOf(job),
      account: rows.map((row) => cleanText(row, job.id)),
    }
  }
  return { submitted, ready, outcome, places: () => toldBeside(folder) }
}

/** Scripts that began on nodes and in VMs: as many, and each in its place. Returns how many there were on nodes. */
function samePlaces(t: Test, playOf: (how: How) => Play | undefined): number {
  const [plain, vm] = [playOf('plain')?.places() ?? [], playOf('vm')?.places() ?? []]
  t.equal(vm.length, plain.length, 'as many scripts began')
  for (const told of plain) rightPlaces(t, 'plain', told, 'its script')
  for (const told of vm) rightPlaces(t, 'vm', told, 'its script')
  return plain.length
}

/** Plays all cases both ways at once and holds one against the other. `vm` is what asks for VMs. */
export async function sameJobs(t: Test, jobs: Jobs, cases: readonly JobCase[], vm: readonly string[]): Promise<void> {
  const plays = new Map<string, Play>()
  const start = (how: How, each: JobCase): Play => {
    const earlier = each.after === undefined ? undefined : plays.get(`${how} ${each.after}`)?.submitted
    const place = `${how}/${each.name.replaceAll(/\W+/g, '-')}`
    const play = playJob(jobs, each, {
      place,
      more: [...(how === 'vm' ? vm : []), ...(each.isFirst ? [] : few)],
      earlier,
    })
    plays.set(`${how} ${each.name}`, play)
    return play
  }
  const startAll = (some: readonly JobCase[]) => some.flatMap((each) => [start('plain', each), start('vm', each)])
  const first = startAll(cases.filter((each) => each.isFirst))
  await Promise.all(first.map((each) => each.ready))
  startAll(cases.filter((each) => !each.isFirst))
  const areOver = Promise.all([...plays.values()].map((each) => each.submitted)).then(async () => {
    const isIdle = async () => (await jobs.cluster.run(['squeue', '--noheader'])).stdout === ''
    await until('the end of all jobs', isIdle, boundMs)
  })
  let began = 0
  for (const each of cases) {
    await t.test(each.name, async (t) => {
      const plain = await plays.get(`plain ${each.name}`)?.outcome(areOver)
      const ends = plain?.account
        .filter((row) => !/^[^|]*[.]/.test(row))
        .map((row) => row.split('|').slice(3, 5).join(' '))
      t.same(ends, each.ends, 'on bare nodes it ends as the test means it')
      for (const text of each.says ?? []) t.match(JSON.stringify(plain), text)
      t.same(await plays.get(`vm ${each.name}`)?.outcome(areOver), plain)
      began += samePlaces(t, (how) => plays.get(`${how} ${each.name}`))
    })
  }
  t.ok(began > 0, 'scripts told where they ran')
}
