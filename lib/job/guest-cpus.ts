// From the host's CPUs that Slurm bound a task to, to the numbers its VM has for them. Pure.

export interface Binding {
  /** The host's CPUs that the task may use on the host. */
  readonly affinity: readonly number[]
  /** The host's CPUs of the run on this node. */
  readonly machine: readonly number[]
  /** vCPUs of each of the run's VMs on this node, in their order; they share `machine` in that order. */
  readonly vcpus: readonly number[]
  /** The task's VM among them. */
  readonly position: number
}

/**
 * The VM's own CPU numbers, ascending; undefined where the task is not bound to a part of what the run has. As many as on the
 * host: a CPU of another VM's part stands for the one at the same place in this VM's.
 */
export function guestCpus({ affinity, machine, vcpus, position }: Binding): readonly number[] | undefined {
  const own = [...machine].sort((a, b) => a - b)
  const bound = own.flatMap((cpu, at) => (affinity.includes(cpu) ? [at] : []))
  const count = vcpus[position] ?? 0
  if (bound.length === 0 || bound.length === own.length || count === 0) return undefined
  const first = vcpus.slice(0, position).reduce((sum, each) => sum + each, 0)
  const numbers = new Set(bound.map((at) => (at - first + own.length * count) % count))
  return numbers.size === count ? undefined : [...numbers].sort((a, b) => a - b)
}
