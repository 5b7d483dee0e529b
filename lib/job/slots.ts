// How many tasks Slurm places on each node and VM of a job: pure arithmetic, for the host files that MPI's launchers read.

export interface TaskLayout {
  /** All tasks of the job; by itself Slurm says one a node. */
  readonly tasks: number
  readonly cpusPerTask: number
  /** `--ntasks-per-node`; 0 where it was not given. */
  readonly perNode: number
}

/**
 * Tasks on each node, as SLURM_TASKS_PER_NODE has them: dealt out one to each node in turn while it has CPUs for them.
 * One task a node is what Slurm shows for a job that named no number; then a node has as many as its CPUs can hold, as
 * in SLURM_TASKS_PER_NODE of an exclusive job.
 */
export function tasksOnNodes(cpusOfNodes: readonly number[], layout: TaskLayout): readonly number[] {
  const { tasks, cpusPerTask, perNode } = layout
  const most = cpusOfNodes.map((cpus) => Math.max(1, Math.floor(cpus / Math.max(1, cpusPerTask))))
  if (perNode > 0) return cpusOfNodes.map(() => perNode)
  if (tasks <= cpusOfNodes.length) return most
  const sum = most.reduce((all, each) => all + each, 0)
  return tasks >= sum ? overcommitted(most, tasks - sum) : dealtOut(most, tasks)
}

function overcommitted(most: readonly number[], more: number): readonly number[] {
  return most.map((each, at) => each + Math.floor((more + most.length - 1 - at) / most.length))
}

function dealtOut(most: readonly number[], tasks: number): readonly number[] {
  const placed = most.map(() => 0)
  for (let left = tasks; left > 0; ) {
    for (const [at, limit] of most.entries()) {
      const here = placed[at] ?? 0
      if (left === 0 || here === limit) continue
      placed[at] = here + 1
      left--
    }
  }
  return placed
}

/** Of a node's tasks those of each of its VMs: local task i of n runs in VM floor(i * K / n). */
export function tasksOnVms(tasks: number, vms: number): readonly number[] {
  const firstOf = (vm: number) => Math.ceil((vm * tasks) / vms)
  return Array.from({ length: vms }, (_, vm) => firstOf(vm + 1) - firstOf(vm))
}
