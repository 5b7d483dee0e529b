// Batches as tests ask for them: what `vmrm create`, `ps`, `exec` and `destroy` say of them on the cluster. It checks nothing itself but that
// a batch which must go has gone.
import type { Test } from 'tap'
import type { Cluster, Finished } from '../support/cluster.ts'

/** A few clones on a machine that is busy with other guests. */
export const boundMs = 300_000
export const lookEveryMs = 300
export interface Batch {
  readonly batch: number
  readonly name: string
  readonly state: string
  readonly reason?: string
  readonly user: string
  readonly vms: readonly { name: string; hostname: string; node: string; address: string; state: string }[]
}

export const create = (cluster: Cluster, name: string, ...options: string[]) =>
  cluster.run(['vmrm', 'create', 'tiny', '--memory=200', '--user=alice', `--name=${name}`, '--json', ...options], {
    timeoutMs: boundMs,
  })
export const made = ({ stdout, stderr }: Finished): Batch => {
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Batch
}

export async function find(cluster: Cluster, name: string): Promise<Batch | undefined> {
  const { stdout } = await cluster.run(['vmrm', 'ps', '--all', '--json'])
  return (JSON.parse(stdout) as Batch[]).find((run) => run.name === name)
}

export async function domains(cluster: Cluster): Promise<readonly string[]> {
  const lists = await Promise.all(
    ['n1', 'n2'].map((node) => cluster.run(['virsh', '--quiet', 'list', '--all', '--name'], { node })),
  )
  return lists.flatMap(({ stdout }) => stdout.split('\n').filter((name) => name.startsWith('b'))).sort()
}

/** A command as the batch's user in one of its VMs. */
export const inVm = (cluster: Cluster, { batch, vms }: Batch, index: number, script: string) =>
  cluster.run(['vmrm', 'exec', `b${batch}`, '--vm', String(index), '--', 'bash', '-c', script], {
    node: vms[index]?.node ?? '',
    timeoutMs: boundMs,
  })

export async function destroy(t: Test, cluster: Cluster, ...batches: string[]): Promise<void> {
  const gone = await cluster.run(['vmrm', 'destroy', ...batches], { timeoutMs: boundMs })
  t.equal(gone.exitCode, 0, gone.stderr)
}
