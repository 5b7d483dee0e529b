// CPU lists such as `0-3,7`, and the way from Slurm's abstract CPU numbers to the machine's. Pure.
import { VmrmError } from '../errors/vmrm-error.ts'

const maxCpu = 65_535

/** The numbers of a CPU list, ascending. Throws `message-invalid` for what is none. */
export function parseCpuList(text: string): readonly number[] {
  const cpus = new Set<number>()
  for (const range of text.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range.trim())
    const first = Number(match?.[1])
    const last = match?.[2] === undefined ? first : Number(match[2])
    if (match === null || last < first || last > maxCpu) {
      throw new VmrmError('message-invalid', `not a CPU list: ${JSON.stringify(text.slice(0, 200))}`)
    }
    for (let cpu = first; cpu <= last; cpu += 1) cpus.add(cpu)
  }
  return [...cpus].sort((a, b) => a - b)
}

/** `[0,1,2,7]` as `0-2,7`. */
export function renderCpuList(cpus: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const cpu of [...cpus].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && cpu === last[1] + 1) last[1] = cpu
    else ranges.push([cpu, cpu])
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',')
}

export interface CpuTopology {
  /** The machine's own number. */
  readonly cpu: number
  readonly socket: number
  readonly core: number
}

/**
 * Machine CPUs for Slurm's abstract ones, which count sockets, in each its cores, in each its threads
 * (slurm's xcpuinfo.c, block map). Undefined if one of them does not exist on this machine: then nothing is pinned.
 */
export function toMachineCpus(
  abstract: readonly number[],
  topology: readonly CpuTopology[],
): readonly number[] | undefined {
  const order = [...topology].sort((a, b) => a.socket - b.socket || a.core - b.core || a.cpu - b.cpu)
  const machine = abstract.map((index) => order[index]?.cpu)
  return machine.every((cpu) => cpu !== undefined) ? machine : undefined
}
