// (a) What the hooks cost a job without a VM: the gate started by its four names, beside a static program that does nothing.
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { execa } from 'execa'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'

const hooks = ['prolog-slurmctld', 'prolog', 'epilog', 'epilog-slurmctld'] as const
const roundsATurn = 40
const gateProgram = resolve(import.meta.dirname, '../../build/c/vmrm-gate')

/** As Slurm gives it to the hooks of a job that asked for no VM. */
const jobEnvironment = {
  ...{ SLURM_JOB_ID: '1', SLURM_JOB_UID: '1000', SLURM_JOB_USER: 'alice', SLURM_JOB_GID: '1000', SLURM_NODELIST: 'n1' },
  ...{ SLURM_CLUSTER_NAME: 'bench', SLURM_CONF: '/etc/slurm/slurm.conf', SLURMD_NODENAME: 'n1' },
}

async function compile(source: string, output: string, flags: readonly string[]): Promise<string> {
  const path = join(import.meta.dirname, source)
  await execa('/usr/bin/gcc', ['-std=gnu11', '-O2', ...flags, '-o', output, path], { timeout: 60_000 })
  return output
}

/** Milliseconds for all programs together, once a round. */
async function time(timer: string, programs: readonly string[]): Promise<number[]> {
  const options = { env: jobEnvironment, extendEnv: false, timeout: 60_000, cwd: '/' }
  const { stdout } = await execa(timer, [String(roundsATurn), ...programs], options)
  return stdout.split('\n').map((line) => Number(line) / 1000)
}

export async function measureHooks({ runs, signal }: BenchOptions): Promise<Metric[]> {
  const folder = await mkdtemp(join(tmpdir(), 'vmrm-bench-hooks-'))
  try {
    const timer = await compile('spawn-timer.c', join(folder, 'spawn-timer'), [])
    const bare = await compile('bare.c', join(folder, 'bare'), ['-static'])
    await mkdir(join(folder, 'gate'))
    const gates = hooks.map((name) => join(folder, 'gate', name))
    for (const path of gates) await symlink(gateProgram, path)
    const [gateMs, bareMs]: [number[], number[]] = [[], []]
    for (let run = 0; run < runs; run++) {
      signal.throwIfAborted()
      bareMs.push(...(await time(timer, [bare, bare, bare, bare])))
      gateMs.push(...(await time(timer, gates)))
    }
    const goal = { bound: 'at-most', value: 1 } as const
    const name = 'four hooks of a job without a VM'
    return [judge({ name, unit: 'ms', value: median(gateMs), baseline: median(bareMs), goal })]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
