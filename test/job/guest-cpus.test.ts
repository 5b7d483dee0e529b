import t from 'tap'
import { guestCpus } from '../../lib/job/guest-cpus.ts'

t.test('a task is bound to as many CPUs in its VM as on its node', async (t) => {
  const cases: [string, Parameters<typeof guestCpus>[0], readonly number[] | undefined][] = [
    ['all of the run', { affinity: [4, 5, 6, 7], machine: [4, 5, 6, 7], vcpus: [4], position: 0 }, undefined],
    ['more than the run', { affinity: [0, 1, 2, 3], machine: [1, 2], vcpus: [2], position: 0 }, undefined],
    ['none of the run', { affinity: [0], machine: [1, 2], vcpus: [2], position: 0 }, undefined],
    ['one', { affinity: [6], machine: [4, 5, 6, 7], vcpus: [4], position: 0 }, [2]],
    ['two, apart, among others', { affinity: [7, 4, 9], machine: [7, 6, 5, 4], vcpus: [4], position: 0 }, [0, 3]],
    ['in the second VM', { affinity: [6], machine: [4, 5, 6, 7], vcpus: [2, 2], position: 1 }, [0]],
    ['all of the second VM', { affinity: [6, 7], machine: [4, 5, 6, 7], vcpus: [2, 2], position: 1 }, undefined],
    ['of the other VM', { affinity: [5], machine: [4, 5, 6, 7], vcpus: [2, 2], position: 1 }, [1]],
    ['VMs of unequal size', { affinity: [6], machine: [4, 5, 6], vcpus: [2, 1], position: 0 }, [0]],
    ['no such VM', { affinity: [4], machine: [4, 5], vcpus: [2], position: 3 }, undefined],
  ]
  for (const [what, binding, expected] of cases) t.same(guestCpus(binding), expected, what)
})
