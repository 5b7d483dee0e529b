// How long the phases of a run's start took, from vmrmd's log. It only reads.
import { readFileSync } from 'node:fs'

export interface Phases {
  /** Files, cgroup and QEMU, until the guest runs. */
  readonly createMs: number
  /** From there to the agent's answer. */
  readonly bootMs: number
  readonly identityMs: number
  /** From the Prolog's request to its answer. */
  readonly preparedMs: number
}

export interface VmPhases extends Phases {
  /** `j12r0v0`. */
  readonly vm: string
  readonly how: 'boot' | 'clone'
}

function field(line: string, name: string): number {
  return Number(new RegExp(` ${name}=(\\d+)`).exec(line)?.[1] ?? Number.NaN)
}

/** Every VM that became ready and whose run was prepared, in the log's order. */
export function readPhases(path: string): VmPhases[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  const prepared = new Map<string, number>()
  for (const line of lines) {
    const run = / run\.prepared .*run=(j\d+r\d+)/.exec(line)?.[1]
    if (run !== undefined) prepared.set(run, field(line, 'ms'))
  }
  return lines.flatMap((line) => {
    const [, vm, run] = / vm\.ready .*vm=((j\d+r\d+)v\d+)/.exec(line) ?? []
    const preparedMs = prepared.get(run ?? '')
    if (vm === undefined || preparedMs === undefined) return []
    const [createMs, bootMs, identityMs] = ['createMs', 'bootMs', 'identityMs'].map((name) => field(line, name))
    if (createMs === undefined || bootMs === undefined || identityMs === undefined) return []
    return [{ vm, how: line.includes(' how=clone') ? 'clone' : 'boot', createMs, bootMs, identityMs, preparedMs }]
  })
}
