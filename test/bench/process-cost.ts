// What processes have cost so far, from /proc: CPU time, and memory with each shared page divided among those that have it.
// It only reads; a process that has ended costs nothing any more.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const ticksPerSecond = Number(execFileSync('/usr/bin/getconf', ['CLK_TCK'], { encoding: 'utf8' }))

function read(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
    throw error
  }
}

/** User and system time of the processes, and of the children they have waited for. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + ticksOf(read(pid, 'stat')), 0) / ticksPerSecond
}

/** Of a line of /proc/PID/stat; 0 for an empty one. */
export function ticksOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
}

/** PSS in MB (10^6 bytes). */
export function pssMb(pids: readonly number[]): number {
  const kib = pids.map((pid) => Number(/^Pss:\s+(\d+) kB/m.exec(read(pid, 'smaps_rollup'))?.[1] ?? 0))
  return (kib.reduce((sum, each) => sum + each, 0) * 1024) / 1e6
}
