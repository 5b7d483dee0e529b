// Command line of the benchmarks: `main.ts NAME [--json] [--runs N] [--n N,…] [--nodes N]`. A table for people, or with --json exactly one object.
import { parseArgs } from 'node:util'
import { type Metric, renderTable } from './metric.ts'

export interface BenchOptions {
  /** Samples of each kind; at least 1, 5 for a median that counts. */
  readonly runs: number
  /** Numbers of VMs, for `clone`. */
  readonly n: readonly number[]
  /** Simulated nodes, for `scale`. */
  readonly nodes: number
  /** Progress, for people. */
  readonly say: (line: string) => void
  /** Aborted by Ctrl-C: the benchmark cleans up and throws. */
  readonly signal: AbortSignal
}

/** What there is to measure; each cleans up after itself. */
const benches: Readonly<Record<string, () => Promise<(options: BenchOptions) => Promise<readonly Metric[]>>>> = {
  clone: async () => (await import('./clone.ts')).benchClone,
  start: async () => (await import('./start.ts')).benchStart,
  scale: async () => (await import('./scale.ts')).benchScale,
  transparent: async () => (await import('./transparent.ts')).benchTransparent,
}

/** Where it is not 5: a round of all sizes takes a minute. */
const usualRuns: Readonly<Record<string, number>> = { scale: 2 }

/** The most VMs of a job that a node of the test cluster and the guests' addresses have room for. */
const mostClones = 200

const say = (line: string): void => {
  process.stderr.write(`${new Date().toTimeString().slice(0, 8)} bench: ${line}\n`)
}

interface Asked {
  readonly name: string
  readonly format: 'table' | 'json'
  readonly runs: number
  readonly n: readonly number[]
  readonly nodes: number
  readonly doing: 'check' | 'measure'
}

/** Throws with a sentence for the user. */
function parse(argv: readonly string[]): Asked {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      runs: { type: 'string' },
      n: { type: 'string', default: '1,10,50,100' },
      nodes: { type: 'string', default: '1024' },
      check: { type: 'boolean' },
    },
  })
  const [name = '', ...more] = positionals
  const runs = Number(values.runs ?? usualRuns[name] ?? 5)
  const n = values.n.split(',').map(Number)
  const nodes = Number(values.nodes)
  if (!(name in benches) || more.length > 0) throw new Error(`which benchmark? ${Object.keys(benches).join(', ')}`)
  if (!Number.isInteger(runs) || runs < 1 || runs > 1000) throw new Error('--runs takes 1 to 1000')
  if (!n.every((each) => Number.isInteger(each) && each >= 1 && each <= mostClones))
    throw new Error(`--n takes numbers from 1 to ${mostClones}, such as 1,10,50`)
  if (!Number.isInteger(nodes) || nodes < 16 || nodes > 2048) throw new Error('--nodes takes 16 to 2048')
  return {
    name,
    runs,
    n,
    nodes,
    format: values.json === true ? 'json' : 'table',
    doing: values.check === true ? 'check' : 'measure',
  }
}

async function measure({ name, runs, n, nodes, format }: Asked): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)))
  }
  const bench = await benches[name]?.()
  const metrics = (await bench?.({ runs, n, nodes, say, signal: stop.signal })) ?? []
  process.stdout.write(format === 'json' ? `${JSON.stringify({ bench: name, metrics })}\n` : renderTable(metrics))
}

try {
  const asked = parse(process.argv.slice(2))
  if (asked.doing === 'measure') await measure(asked)
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.stderr.write('usage: npm run bench -- NAME [--json] [--runs N] [--n N,…] [--nodes N]\n')
  process.exitCode = 1
}
