// The cgroup that a test's agent is put into, so that it makes its sessions' groups there: an agent kills all sessions that it
// finds beside its own at its start, and in the machine's root those would be other tests'.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../support/until.ts'

/** Where the machine has cgroup2; undefined: nowhere. */
export const cgroup2 = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((d) => existsSync(join(d, 'cgroup.procs')))

/** A new group of this name's; undefined where there is no cgroup2. */
export function makeCgroup(name: string): string | undefined {
  if (cgroup2 === undefined) return undefined
  const path = join(cgroup2, `vmrm-test-${process.pid}-${name}`)
  mkdirSync(path)
  return path
}

/** Removes it with the agent's own groups below it, if that was killed before it could; waits for their processes' end. */
export async function removeCgroup(path: string): Promise<void> {
  const isGone = (): boolean => {
    try {
      execFileSync('find', [path, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+'], { stdio: 'ignore' })
    } catch {
      return !existsSync(path)
    }
    return true
  }
  await until(`the end of ${path}`, isGone, 5000)
}
