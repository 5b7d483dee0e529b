// What the daemons of a cluster have logged of their recoveries since a moment: how long they took, and which failed. It only reads.
import { readFileSync, statSync } from 'node:fs'
import type { Test } from 'tap'
import { logPath } from '../cluster/daemons.ts'
import type { Layout } from '../cluster/layout.ts'

/** The promise, which half of all recoveries keep on the busiest machine: there, too, they take well below one second. */
const promisedMs = 5000
/** One alone may meet a libvirtd that does not answer (5 s), or wait for a CPU. */
const longestMs = 15_000
const roles = ['node', 'controller'] as const
type Role = (typeof roles)[number]
/** Logged beside `daemon.recovered` where something was not taken up. */
const failure = /^.* (?:run\.not-recovered|run\.not-forgotten|strays\.failed) .*$/gm

/** Where vmrmd's log of each host ends. */
export type LogEnds = ReadonlyMap<string, number>

export const logEnds = ({ hosts }: Layout): LogEnds =>
  new Map(hosts.map((host) => [host.name, statSync(logPath(host, 'vmrmd')).size]))

export interface Recoveries {
  readonly role: Role
  readonly count: number
  /** What half of them took at most. */
  readonly halfMs: number
  readonly longestMs: number
  /** All of it, and what took the longest so long. */
  readonly text: string
}

/** Of each role, without those before `since`, which had nothing to take up. */
export function recoveries(layout: Layout, since: LogEnds): readonly Recoveries[] {
  const all = linesSince(layout, since).flatMap(([name, log]) =>
    [...log.matchAll(/ daemon\.recovered role=(\w+) (ms=(\d+).*)$/gm)].map(([, role, text = '', ms]) => ({
      role,
      ms: Number(ms),
      text: `${name} ${text}`,
    })),
  )
  return roles.map((role) => {
    const sorted = all.filter((each) => each.role === role).toSorted((a, b) => a.ms - b.ms)
    const { ms: halfMs } = sorted[Math.ceil(sorted.length / 2) - 1] ?? { ms: Number.NaN }
    const { ms: longest, text } = sorted.at(-1) ?? { ms: Number.NaN, text: '' }
    const count = sorted.length
    return {
      ...{ role, count, halfMs, longestMs: longest },
      text:
        count === 0
          ? `no recovery of a ${role}`
          : `${count} recoveries of a ${role}, half of them within ${halfMs} ms, the longest: ${text}`,
    }
  })
}

/** Lines of the log that tell of something which was not taken up. */
export const failedRecoveries = (layout: Layout, since: LogEnds): readonly string[] =>
  linesSince(layout, since).flatMap(([name, log]) => [...log.matchAll(failure)].map(([line]) => `${name} ${line}`))

/** `kills`: how often a daemon of the role was killed. One that is killed before it has recovered does not log it. */
export function checkRecoveries(
  t: Test,
  { layout, since, kills }: { layout: Layout; since: LogEnds; kills: Readonly<Record<Role, number>> },
): void {
  for (const { role, count, halfMs, longestMs: longest, text } of recoveries(layout, since)) {
    t.ok(count >= kills[role] / 2, `after ${kills[role]} kills: ${text}`)
    t.ok(halfMs <= promisedMs && longest <= longestMs, text)
    t.comment(text)
  }
  t.same(failedRecoveries(layout, since), [], 'each has taken up all that was there')
}

function linesSince({ hosts }: Layout, since: LogEnds): readonly (readonly [name: string, log: string])[] {
  return hosts.map((host) => [
    host.name,
    readFileSync(logPath(host, 'vmrmd'))
      .subarray(since.get(host.name) ?? 0)
      .toString('utf8'),
  ])
}
