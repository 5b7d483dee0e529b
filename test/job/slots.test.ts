import t from 'tap'
import { tasksOnNodes, tasksOnVms } from '../../lib/job/slots.ts'

/** What SLURM_TASKS_PER_NODE said for such jobs (Slurm 22.05). */
const seen: readonly [string, number[], Parameters<typeof tasksOnNodes>[1], number[]][] = [
  ['-N2', [1, 1], { tasks: 2, cpusPerTask: 1, perNode: 0 }, [1, 1]],
  ['-N2 -n5', [4, 1], { tasks: 5, cpusPerTask: 1, perNode: 0 }, [4, 1]],
  ['-n1 -c3', [3], { tasks: 1, cpusPerTask: 3, perNode: 0 }, [1]],
  ['-N2 --ntasks-per-node=3', [3, 3], { tasks: 6, cpusPerTask: 1, perNode: 3 }, [3, 3]],
  ['-N2 --exclusive', [8, 8], { tasks: 2, cpusPerTask: 1, perNode: 0 }, [8, 8]],
  ['-N2 -n3 -c2', [4, 2], { tasks: 3, cpusPerTask: 2, perNode: 0 }, [2, 1]],
  ['-N2 -n3 --ntasks-per-node=2', [2, 2], { tasks: 4, cpusPerTask: 1, perNode: 2 }, [2, 2]],
  ['-N2 -n5 --exclusive', [8, 8], { tasks: 5, cpusPerTask: 1, perNode: 0 }, [3, 2]],
]

t.test("tasks are placed as Slurm's SLURM_TASKS_PER_NODE has them", async (t) => {
  for (const [options, cpus, layout, wanted] of seen) t.same(tasksOnNodes(cpus, layout), wanted, options)
})

t.test('more tasks than CPUs are shared evenly, and as many as a user likes cost no time', async (t) => {
  const overcommitted = tasksOnNodes([2, 1, 1], { tasks: 9, cpusPerTask: 1, perNode: 0 })
  t.same(overcommitted, [4, 3, 2])
  const many = tasksOnNodes([2, 1], { tasks: 999_999_999, cpusPerTask: 1, perNode: 0 })
  t.equal(
    many.reduce((sum, each) => sum + each, 0),
    999_999_999,
  )
  t.same(tasksOnNodes([1], { tasks: 5, cpusPerTask: 0, perNode: 0 }), [5])
})

t.test('the VMs of a node have those tasks that are sent to them', async (t) => {
  for (const tasks of [0, 1, 2, 5, 7, 64]) {
    for (const vms of [1, 2, 3, 8]) {
      const sent = Array.from({ length: vms }, () => 0)
      for (let task = 0; task < tasks; task++) {
        const vm = Math.floor((task * vms) / tasks)
        sent[vm] = (sent[vm] ?? 0) + 1
      }
      t.same(tasksOnVms(tasks, vms), sent, `${tasks} tasks in ${vms} VMs`)
    }
  }
})
