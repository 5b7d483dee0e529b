// Whether what became of a job that was played keeps the promises, whatever was killed: one line for each that it does not keep.
import type { Cluster } from '../support/cluster.ts'
import { isBeforeDecision, type Play } from './plays.ts'
import type { Result } from './scenario.ts'

export async function judge(cluster: Cluster, { shape, points }: Play, result: Result): Promise<readonly string[]> {
  const { outcome, output, reason } = result
  if (outcome === 'all') return hasBegun(cluster, shape.nodes * shape.perNode, result)
  const problems: string[] = []
  const hasRun = /^vms |^ran$|^\d+: \S+-\d{4}$/m.test(output)
  if (hasRun && isBeforeDecision(points)) problems.push(`some of it ran: ${output}`)
  if (outcome === 'none' && !/^vmrm: /m.test(output) && (hasRun || reason === ''))
    problems.push(`it failed without a reason: ${output}`)
  return problems
}

/** In all its VMs, or with best-effort in those that it says are there. */
async function hasBegun(cluster: Cluster, vms: number, { output }: Result): Promise<readonly string[]> {
  const [, up = '', without = ''] = /^vms (\S*) without (\S*)$/m.exec(output) ?? []
  const [there, missing] = await Promise.all([hostnames(cluster, up), hostnames(cluster, without)])
  const ran = [...new Set([...output.matchAll(/^\d+: (\S+-\d{4})$/gm)].map(([, host = '']) => host))].sort()
  if (without === '')
    return ran.length === vms && /^ran$/m.test(output) ? [] : [`${ran.length} of ${vms} VMs ran a task: ${output}`]
  const isTold = there.length + missing.length === vms && there.join() === ran.join()
  return isTold ? [] : [`${ran.join()} ran, ${up} should have, without ${without}: ${output}`]
}

async function hostnames(cluster: Cluster, range: string): Promise<readonly string[]> {
  if (range === '') return []
  return (await cluster.run(['scontrol', 'show', 'hostnames', range])).stdout.trim().split('\n').sort()
}
