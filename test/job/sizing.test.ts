import t from 'tap'
import { requireSize, sizeVms, vmOfTask } from '../../lib/job/sizing.ts'

const limits = { minMemoryMib: 96, maxMemoryMib: 4096, maxCpus: 8, maxPerNode: 16 }
const base = { overheadMib: 100, limits, image: 'tiny' }
const on = (cpus: number, memoryMib: number) => ({ node: 'n1', cpus, memoryMib })

t.test('a VM gets all of the node share but its overhead', async (t) => {
  t.same(sizeVms({ ...base, allocation: on(4, 1100), perNode: 1 }), [{ vcpus: 4, memoryMib: 1000 }])
})

t.test('several VMs share evenly, the first ones get the odd CPUs', async (t) => {
  const sizes = sizeVms({ ...base, allocation: on(5, 1000), perNode: 3 })
  t.same(
    sizes.map((size) => size.vcpus),
    [2, 2, 1],
  )
  t.same(new Set(sizes.map((size) => size.memoryMib)), new Set([233]))
})

t.test('where Slurm allocates no memory the image limit is what a VM gets', async (t) => {
  t.same(sizeVms({ ...base, allocation: on(1, 0), perNode: 1 }), [{ vcpus: 1, memoryMib: 4096 }])
})

t.test('sizes that cannot be are refused with the numbers', async (t) => {
  const cases = [
    { allocation: on(1, 1000), perNode: 2, code: 'size-too-small', says: /1 CPUs on node n1; 2 VMs/ },
    { allocation: on(2, 150), perNode: 1, code: 'size-too-small', says: /50 MiB is left/ },
    { allocation: on(2, 50), perNode: 1, code: 'size-too-small', says: /nothing is left/ },
    { allocation: on(2, 9000), perNode: 1, code: 'size-over-limit', says: /8900 MiB; image tiny allows 4096/ },
    { allocation: on(9, 1000), perNode: 1, code: 'size-over-limit', says: /9 vCPUs on node n1; image tiny allows 8/ },
    { allocation: on(64, 9000), perNode: 17, code: 'size-over-limit', says: /allows 16 VMs a node; 17/ },
  ]
  for (const { code, says, ...rest } of cases) t.throws(() => sizeVms({ ...base, ...rest }), { code, message: says })
})

t.test('local task i of n runs in VM floor(i*K/n)', async (t) => {
  const placed = (count: number, perNode: number) =>
    Array.from({ length: count }, (_, local) => vmOfTask(local, count, perNode))
  t.same(placed(4, 2), [0, 0, 1, 1])
  t.same(placed(3, 2), [0, 0, 1])
  t.same(placed(2, 4), [0, 2])
  t.same(placed(1, 1), [0])
})

t.test('a size that was asked for is held to the same limits', async (t) => {
  const size = (vcpus: number, memoryMib: number, perNode = 2) => ({ size: { vcpus, memoryMib }, perNode })
  requireSize({ ...base, ...size(8, 4096) })
  requireSize({ ...base, ...size(1, 96) })
  const wrong: [ReturnType<typeof size>, string, RegExp][] = [
    [size(9, 200), 'size-over-limit', /8 vCPUs a VM, not 9/],
    [size(1, 4097), 'size-over-limit', /4096 MiB a VM, not 4097/],
    [size(1, 95), 'size-too-small', /at least 96 MiB a VM; 95/],
    [size(1, 200, 17), 'size-over-limit', /16 VMs a node; 17/],
  ]
  for (const [asked, code, message] of wrong) t.throws(() => requireSize({ ...base, ...asked }), { code, message })
})
