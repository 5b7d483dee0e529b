// A stand-in for Slurm's commands: jobs with states and allocations, drains, comments.
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { SlurmCommands } from '../../lib/slurm/commands.ts'
import type { AllocationOnNode, JobState, NodeState } from '../../lib/slurm/job-details.ts'

export interface FakeSlurm extends SlurmCommands {
  state: 'up' | 'down'
  readonly states: Map<number, JobState>
  readonly nodes: Map<string, NodeState>
  readonly allocations: Map<string, AllocationOnNode>
  readonly comments: Map<number, string>
  readonly done: string[]
}

export function createFakeSlurm(): FakeSlurm {
  const slurm: FakeSlurm = {
    state: 'up',
    states: new Map(),
    nodes: new Map(),
    allocations: new Map(),
    comments: new Map(),
    done: [],
    async allocation(_job, _selector, nodes) {
      return nodes.map((node) => {
        const found = slurm.allocations.get(node)
        if (found === undefined) throw new VmrmError('command-failed', `squeue does not tell the CPUs on node ${node}`)
        return found
      })
    },
    async jobStates() {
      if (slurm.state === 'down') throw new VmrmError('command-failed', 'squeue ended with 1')
      return slurm.states
    },
    async nodeStates() {
      if (slurm.state === 'down') throw new VmrmError('command-failed', 'sinfo ended with 1')
      return slurm.nodes
    },
    async adminComment(job) {
      if (slurm.state === 'down') throw new VmrmError('command-failed', 'squeue ended with 1')
      return slurm.comments.get(job) ?? ''
    },
    async hasDecidedJobs() {
      return [...slurm.comments.values()].some((comment) => comment.startsWith('vmrm-image='))
    },
    taskProlog: async () => undefined,
    async comment(job, text) {
      slurm.done.push(`comment ${job} ${text}`)
    },
    async requeue(job) {
      slurm.done.push(`requeue ${job}`)
    },
    async requeueHold(selector) {
      if (slurm.state === 'down') throw new VmrmError('command-failed', 'scontrol requeuehold ended with 1')
      slurm.done.push(`hold ${selector}`)
    },
    async release(selector) {
      slurm.done.push(`release ${selector}`)
    },
    async drain(node, reason) {
      slurm.done.push(`drain ${node} ${reason}`)
      return 'drained'
    },
    async resumeOwnDrain(node) {
      slurm.done.push(`resume ${node}`)
      return 'resumed'
    },
  }
  return slurm
}
