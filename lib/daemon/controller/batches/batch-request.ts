// From a message to what a batch is to be: whose VMs, on which nodes, how large. Whether the image allows it is the planner's
// to say; nothing is changed here.
import { createHash } from 'node:crypto'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import type { Run } from '../../../job/run.ts'
import type { RequestOf } from '../../../protocol/messages.ts'
import { expandHostlist, renderHostlist } from '../../../slurm/hostlist.ts'
import type { Account } from '../../account.ts'
import type { BatchRequest } from '../planning/planner.ts'

export type CreateBatch = RequestOf<'create-batch'>
export type WantedBatch = Omit<BatchRequest, keyof Run>

/** A node that may be chosen where none are named. */
export interface Candidate {
  readonly node: string
  /** VMs that vmrm has there. */
  readonly vms: number
}

/** The same for every repetition of a request, by whomever it is sent; the name is no part of it. */
export function contentOf({ name: _, ...asked }: CreateBatch, owner: Account): string {
  const parts = Object.entries({ ...asked, user: owner.name, uid: owner.uid }).filter(
    ([, value]) => value !== undefined,
  )
  parts.sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/** Throws `request-invalid` for nodes that cannot be meant, `range-full` where fewer are there than are wanted. */
export function wantedBatch(request: CreateBatch, owner: Account, candidates: readonly Candidate[]): WantedBatch {
  const { image, revision, perNode, strategy, cpus, memoryMib, withinSeconds } = request
  return {
    uid: owner.uid,
    gid: owner.gid,
    user: owner.name,
    // Slurm's accounts are jobs'.
    account: '',
    nodes: request.nodes === undefined ? chosen(request.nodeCount ?? 1, candidates) : named(request.nodes),
    request: { image, revision, perNode, script: 'guest', strategy },
    vm: { vcpus: cpus, memoryMib },
    ...(withinSeconds === undefined ? {} : { withinMs: withinSeconds * 1000 }),
  }
}

function named(text: string): string {
  const nodes = expandHostlist(text)
  const seen = new Set<string>()
  const twice = nodes.find((node) => seen.has(node) || !seen.add(node))
  if (twice !== undefined) throw new VmrmError('request-invalid', `node ${twice} is named twice in ${text}`)
  if (nodes.length === 0) throw new VmrmError('request-invalid', `${JSON.stringify(text)} names no node`)
  return renderHostlist(nodes)
}

function chosen(count: number, candidates: readonly Candidate[]): string {
  if (candidates.length < count) {
    const text = `${count} nodes are wanted, and ${candidates.length} have a vmrmd that answers and nothing in the way`
    throw new VmrmError('nodes-too-few', text)
  }
  const byUse = candidates.toSorted((a, b) => a.vms - b.vms || (a.node < b.node ? -1 : 1))
  return renderHostlist(byUse.slice(0, count).map(({ node }) => node))
}
