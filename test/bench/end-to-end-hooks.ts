// (a), for information: srun without a VM on a cluster with the hooks in slurm.conf and without them, in turn.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../support/cluster.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'
import { timeCommand } from './timed-command.ts'

const srunsATurn = 3

/** Takes the four hooks' lines out of the cluster's configuration, or puts them back, and tells Slurm. */
async function setHooks(cluster: Cluster, hooks: 'set' | 'unset'): Promise<void> {
  const path = join(cluster.layout.folder, 'etc-slurm/slurm.conf.vmrm')
  const text = readFileSync(path, 'utf8')
  const line = /^#?((?:Prolog|Epilog)(?:Slurmctld)?=.*)$/gm
  writeFileSync(path, text.replaceAll(line, hooks === 'set' ? '$1' : '#$1'))
  const { exitCode, stderr } = await cluster.run(['scontrol', 'reconfigure'])
  if (exitCode !== 0) throw new Error(`scontrol reconfigure: ${stderr}`)
  await cluster.waitUntilIdle(60_000)
}

export async function measureHooksEndToEnd(cluster: Cluster, { runs, say, signal }: BenchOptions): Promise<Metric> {
  const withMs: number[] = []
  const withoutMs: number[] = []
  const srun = () => timeCommand(cluster, { argv: ['srun', '/bin/true'], user: 'alice', timeoutMs: 60_000, signal })
  const turn = async (hooks: 'set' | 'unset'): Promise<number[]> => {
    await setHooks(cluster, hooks)
    await srun() // The first one after a reconfiguration pays for that.
    const taken: number[] = []
    for (let i = 0; i < srunsATurn; i++) {
      await cluster.waitUntilIdle(60_000)
      taken.push((await srun()).endMs)
    }
    return taken
  }
  try {
    for (let run = 0; run < runs; run++) {
      withoutMs.push(...(await turn('unset')))
      withMs.push(...(await turn('set')))
    }
  } finally {
    await setHooks(cluster, 'set')
  }
  say(
    `srun without a VM: ${Math.round(median(withMs))} ms, without the hooks in slurm.conf ${Math.round(median(withoutMs))} ms`,
  )
  return judge({
    name: 'srun without a VM, hooks in slurm.conf',
    unit: 'ms',
    value: median(withMs),
    baseline: median(withoutMs),
  })
}
