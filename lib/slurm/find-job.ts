// Which job a name such as 12, 12_3 or 12+1 stands for, as squeue shows it to the asking user. It decides nothing about access.
import { VmrmError } from '../errors/vmrm-error.ts'

export interface NamedJob {
  /** Slurm's own number of it. */
  readonly id: number
  /** As people write it: `12`, `12_3`, `12+1`. */
  readonly name: string
  readonly uid: number
  readonly user: string
  /** Slurm's word: `RUNNING`. */
  readonly state: string
}

const jobName = /^[1-9]\d{0,9}(?:[_+]\d{1,10})?$/
const deadlineMs = 30_000
/** No user's text is in these: number, name, uid, state, user. */
const format = '%A|%i|%U|%T|%u'

/** Throws `request-invalid` for what is no job's name, `job-unknown` where squeue shows none. */
export async function findJob(
  name: string,
  slurm: { readonly commands: string; readonly config: string },
): Promise<NamedJob> {
  if (!jobName.test(name)) {
    const shown = JSON.stringify(name.slice(0, 100))
    throw new VmrmError(
      'request-invalid',
      `${shown} is no job: a number such as 123, 123_4 in an array, 123+1 in a heterogeneous job`,
    )
  }
  const { execa } = await import('execa')
  const result = await execa(
    `${slurm.commands}/squeue`,
    ['--all', '--noheader', '--array', '--states=all', `--format=${format}`, `--jobs=${name}`],
    {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', SLURM_CONF: slurm.config },
      extendEnv: false,
      cwd: '/',
      stdin: 'ignore',
      timeout: deadlineMs,
      maxBuffer: 64 * 1024 * 1024,
      reject: false,
    },
  )
  if (result.failed && !/Invalid job id/i.test(result.stderr)) {
    const what = `squeue ended with ${result.exitCode ?? result.signal ?? 'no status'}`
    throw new VmrmError('command-failed', what, { quoted: result.stderr.slice(-2000), cause: result.cause })
  }
  return chooseJob(name, parseNamedJobs(result.failed ? '' : result.stdout))
}

/** Lines of squeue in the format above; others are passed over. */
export function parseNamedJobs(text: string): readonly NamedJob[] {
  return text.split('\n').flatMap((line) => {
    const match = /^(\d+)\|([\d_+]+)\|(\d+)\|([A-Z_]+)\|(.+)$/.exec(line.trim())
    const [, id, name = '', uid, state = '', user = ''] = match ?? []
    return match === null ? [] : [{ id: Number(id), name, uid: Number(uid), state, user }]
  })
}

/** The one of them that is meant: a whole array is none, a heterogeneous job is its first component. */
export function chooseJob(name: string, jobs: readonly NamedJob[]): NamedJob {
  const exact = jobs.filter((job) => job.name === name || String(job.id) === name)
  const [first = jobs[0], ...more] = exact.length > 0 ? exact : jobs
  if (first === undefined) throw new VmrmError('job-unknown', `there is no job ${name} that you may see`)
  const isArray = jobs.length > 1 && jobs.some((job) => job.name.startsWith(`${name}_`))
  if (more.length === 0 && !isArray) return first
  throw new VmrmError(
    'request-invalid',
    `job ${name} is an array of ${jobs.length} tasks: name one of them, such as ${first.name}`,
  )
}
