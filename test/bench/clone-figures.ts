// The figures of the benchmark `clone` from what was measured: differences, extrapolations, goals. Pure.
import { judge, type Measured, type Metric, median } from './metric.ts'

/** All of one N. Times in ms. */
export interface ClonesOfN {
  readonly n: number
  /** VMs of the limit between their spawn and their answer at the same time. */
  readonly atOnce: number
  readonly limit: {
    readonly identifiedMs: number
    readonly answeredMs: number
    readonly cpuSeconds: number
    readonly pssMb: number
  }
  readonly plainMs: number
  readonly clones: {
    readonly answeredMs: number
    readonly preparedMs: number
    readonly copyMs: number
    readonly booted: number
    readonly cpuSeconds: number
    readonly pssMb: number
  }
  /** Measured with so many VMs. */
  readonly boots: {
    readonly n: number
    readonly answeredMs: number
    readonly plainMs: number
    readonly cpuSeconds: number
    readonly pssMb: number
  }
  /** Of the VMs of the script that were measured. */
  readonly script: { readonly eachMs: readonly number[]; readonly pssMb: number }
}

const goalN = 50
const goals = { overLimit: 1.5, overScript: 15, pssMb: 70 } as const

/** Of N things that take the same time each, one after the other or on CPUs that are busy all the time. */
export function extrapolate(measured: number, from: number, to: number): number {
  return (measured / from) * to
}

export function figuresOf({ n, atOnce, limit, plainMs, clones, boots, script }: ClonesOfN): readonly Metric[] {
  const figure = (name: string, unit: string, value: number, rest: Omit<Measured, 'name' | 'unit' | 'value'> = {}) =>
    judge({ name: `${n} clone${n === 1 ? '' : 's'}: ${name}`, unit, value, ...rest })
  const goal = (bound: 'at-most' | 'at-least', value: number) => (n === goalN ? { goal: { bound, value } } : {})
  const from = (measured: number) => (measured === n ? '' : `, extrapolated from ${measured}`)
  const of = (measured: number) => (measured === n ? '' : `, each of ${measured}`)
  const seconds = (ms: number) => ms / 1000
  const ofVmrm = seconds(clones.answeredMs - plainMs)
  const ofLimit = seconds(limit.answeredMs)
  const { eachMs } = script
  const counted = eachMs.slice(0, n)
  const scripted = seconds(extrapolate(sum(counted), counted.length, n))
  const booted = seconds(extrapolate(boots.answeredMs - boots.plainMs, boots.n, n))
  const scriptedFrom = from(counted.length)
  return [
    figure(`all answered, beyond plain Slurm; limit: QEMU alone, ${atOnce} at once`, 's', ofVmrm, {
      ...{ baseline: ofLimit, ...goal('at-most', goals.overLimit * ofLimit) },
    }),
    figure('times as fast as the plain script', 'x', scripted / ofVmrm, goal('at-least', goals.overScript)),
    figure('times as fast as boots through vmrm', 'x', booted / ofVmrm),
    figure(`the plain script${scriptedFrom}`, 's', scripted),
    figure(`boots through vmrm, beyond plain Slurm${from(boots.n)}`, 's', booted),
    figure('sbatch to the last answer; baseline: plain Slurm', 's', seconds(clones.answeredMs), {
      baseline: seconds(plainMs),
    }),
    figure("identified, from the Prolog's request; limit: QEMU alone", 's', seconds(clones.preparedMs), {
      baseline: seconds(limit.identifiedMs),
    }),
    figure("of that, the run's copy of the template", 's', seconds(clones.copyMs)),
    figure('VMs that booted instead', '', clones.booted),
    figure('CPU time of each; limit: QEMU alone', 's', clones.cpuSeconds / n, { baseline: limit.cpuSeconds / n }),
    figure(`CPU time of a boot${from(boots.n)}`, 's', boots.cpuSeconds / boots.n),
    figure('memory of each (PSS); limit: QEMU alone', 'MB', clones.pssMb / n, {
      ...{ baseline: limit.pssMb / n, ...goal('at-most', goals.pssMb) },
    }),
    figure(`memory of a boot (PSS)${of(boots.n)}`, 'MB', boots.pssMb / boots.n),
    figure(`memory of a VM of the plain script (PSS)${of(eachMs.length)}`, 'MB', script.pssMb / eachMs.length),
  ]
}

/** The sample whose time is the median, or the next longer one: its other figures belong to it. */
export function middle<T>(samples: readonly T[], timeOf: (sample: T) => number): T {
  const bound = median(samples.map(timeOf))
  const sorted = [...samples].sort((a, b) => timeOf(a) - timeOf(b))
  return sorted.find((sample) => timeOf(sample) >= bound) as T
}

function sum(values: readonly number[]): number {
  return values.reduce((all, each) => all + each, 0)
}
