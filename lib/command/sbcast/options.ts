// The command line of sbcast (Slurm 22.05), and what the relay puts in front of it. It decides what is accepted, and looks at no file.

/** A failure in sbcast's own words, with its exit code. */
export class SbcastFailure extends Error {
  readonly exitCode: number
  /** Lines for stderr. */
  readonly lines: readonly string[]

  constructor(exitCode: number, ...lines: readonly string[]) {
    super(lines[0] ?? '')
    this.exitCode = exitCode
    this.lines = lines
  }
}

/** What Slurm 22.05 exits with where it failed before it sent anything: -1. */
export const failedExit = 255

export interface SbcastRequest {
  readonly source: string
  readonly destination: string
  /** `123` or `123.4`; absent: the job this runs in. */
  readonly job?: string
  readonly whenThere: 'fail' | 'replace'
  readonly times: 'new' | 'preserved'
  readonly isVerbose: boolean
  /** `asked-for`: they stay here, since those of this node are not the image's. */
  readonly libraries: 'none' | 'asked-for'
  /** The source's bytes are on stdin, and this is what it was like in the guest. */
  readonly relayed?: { readonly mode: number; readonly atime: string; readonly mtime: string }
}

type Kind = 'flag' | 'value' | 'optional'

/** By their long names; getopt takes any beginning of one that is no other's too. */
const options: Readonly<Record<string, { readonly kind: Kind; readonly letter?: string }>> = {
  compress: { kind: 'optional', letter: 'C' },
  exclude: { kind: 'value' },
  fanout: { kind: 'value', letter: 'F' },
  force: { kind: 'flag', letter: 'f' },
  jobid: { kind: 'value', letter: 'j' },
  preserve: { kind: 'flag', letter: 'p' },
  'send-libs': { kind: 'optional' },
  size: { kind: 'value', letter: 's' },
  timeout: { kind: 'value', letter: 't' },
  verbose: { kind: 'flag', letter: 'v' },
  'source-mode': { kind: 'value' },
  'source-times': { kind: 'value' },
}

export const sbcastUsage =
  'vmrm sbcast [-fpv] [-j JOB[.STEP]] [-C[LIBRARY]] [-F NUMBER] [-s SIZE] [-t SECONDS] SOURCE DEST'

/** Throws SbcastFailure. */
export function readSbcast(args: readonly string[]): SbcastRequest {
  const { values, positionals } = split(args)
  const [source, destination, ...more] = positionals
  if (source === undefined || destination === undefined || more.length > 0) {
    throw refuse(`Need two file names, have ${positionals.length} names`)
  }
  const job = values.get('jobid')
  if (job !== undefined && !/^[1-9]\d{0,9}(?:[_+]\d{1,10})?(?:\.\d{1,10})?$/.test(job)) {
    throw new SbcastFailure(failedExit, `sbcast: error: Slurm job ${job} lookup error: Invalid job id specified`)
  }
  return {
    ...{ source, destination, isVerbose: values.has('verbose') },
    libraries: /^no$/i.test(values.get('send-libs') ?? 'no') ? 'none' : 'asked-for',
    whenThere: values.has('force') || process.env.SBCAST_FORCE !== undefined ? 'replace' : 'fail',
    times: values.has('preserve') || process.env.SBCAST_PRESERVE !== undefined ? 'preserved' : 'new',
    ...(job === undefined ? {} : { job }),
    ...relayedOf(values),
  }
}

function relayedOf(values: ReadonlyMap<string, string>): Pick<SbcastRequest, 'relayed'> {
  const mode = values.get('source-mode')
  if (mode === undefined) return {}
  const [, atime, mtime] = /^(\d{1,15}),(\d{1,15})$/.exec(values.get('source-times') ?? '') ?? []
  if (!/^[0-7]{1,5}$/.test(mode) || atime === undefined || mtime === undefined) {
    throw refuse('sbcast: --source-mode and --source-times are for calls from a VM')
  }
  return { relayed: { mode: Number.parseInt(mode, 8), atime, mtime } }
}

function refuse(text: string): SbcastFailure {
  return new SbcastFailure(1, text, 'Try "sbcast --help" for more information')
}

function split(args: readonly string[]): { values: Map<string, string>; positionals: string[] } {
  const values = new Map<string, string>()
  const positionals: string[] = []
  const rest = [...args]
  const take = (name: string, given: string | undefined) => {
    const kind = options[name]?.kind
    if (kind === 'flag' && given !== undefined && given !== '') throw refuse(`sbcast: --${name} takes no value`)
    const value = kind === 'value' ? (given ?? rest.shift()) : (given ?? '')
    if (value === undefined) throw refuse(`sbcast: --${name} needs a value`)
    values.set(name, value)
  }
  for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
    if (next === '--') {
      positionals.push(...rest)
      break
    }
    if (next.startsWith('--')) {
      const [long = '', ...value] = next.slice(2).split('=')
      take(longName(long), value.length === 0 ? undefined : value.join('='))
    } else if (next.startsWith('-') && next !== '-') takeLetters(next.slice(1), take)
    else positionals.push(next)
  }
  return { values, positionals }
}

function takeLetters(letters: string, take: (name: string, given: string | undefined) => void): void {
  for (let at = 0; at < letters.length; at += 1) {
    const letter = letters[at] ?? ''
    const [name, option] = Object.entries(options).find(([, each]) => each.letter === letter) ?? []
    if (name === undefined || option === undefined) throw refuse(`sbcast: invalid option -- '${letter}'`)
    if (option.kind === 'flag') {
      take(name, undefined)
      continue
    }
    const value = letters.slice(at + 1)
    take(name, value === '' ? undefined : value)
    return
  }
}

function longName(given: string): string {
  const names = Object.keys(options).filter((name) => name === given || (given !== '' && name.startsWith(given)))
  const exact = names.find((name) => name === given)
  if (exact !== undefined) return exact
  if (names.length === 1) return names[0] ?? ''
  throw refuse(
    names.length === 0 ? `sbcast: unrecognized option '--${given}'` : `sbcast: option '--${given}' is ambiguous`,
  )
}
