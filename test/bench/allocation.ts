// Allocations that stay while something is measured in them. It owns the salloc; who made one by itself gives it back.
import type { Cluster } from '../support/cluster.ts'

export const benchUser = 'alice'

const timeoutMs = 180_000

/** Returns the job's id once its nodes, and VMs where the options ask for them, are there. Throws with salloc's words. */
export async function allocate(cluster: Cluster, options: readonly string[]): Promise<string> {
  const argv = ['salloc', '--no-shell', ...options]
  const { exitCode, stderr } = await cluster.run(argv, { user: benchUser, timeoutMs })
  const job = /Granted job allocation (\d+)/.exec(stderr)?.[1]
  if (exitCode !== 0 || job === undefined) throw new Error(`${argv.join(' ')} failed:\n${stderr}`)
  return job
}

/** Gives allocations back; none is fine. */
export async function release(cluster: Cluster, jobs: readonly string[]): Promise<void> {
  if (jobs.length > 0) await cluster.run(['scancel', ...jobs], { user: benchUser })
}

/** The ids of two one-node allocations, each on a node of its own. */
export interface PlainAndVm {
  readonly plain: string
  readonly vm: string
}

/** Measures in an allocation without a VM and in one with, and gives both back whatever happens. */
export async function withPlainAndVm<T>(cluster: Cluster, measure: (jobs: PlainAndVm) => Promise<T>): Promise<T> {
  const jobs: string[] = []
  try {
    const plain = await allocate(cluster, ['--nodelist=n2'])
    jobs.push(plain)
    const vm = await allocate(cluster, ['--nodelist=n1', '--vm-image=tiny'])
    jobs.push(vm)
    return await measure({ plain, vm })
  } finally {
    await release(cluster, jobs)
  }
}
