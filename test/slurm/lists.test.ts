import t from 'tap'
import { parseCpuList, renderCpuList, toMachineCpus } from '../../lib/slurm/cpu-list.ts'
import { expandHostlist } from '../../lib/slurm/hostlist.ts'

t.test('host lists expand as scontrol show hostnames does', async (t) => {
  const cases: [string, string[]][] = [
    ['n1', ['n1']],
    ['n[1-3]', ['n1', 'n2', 'n3']],
    ['n[08-10,12]', ['n08', 'n09', 'n10', 'n12']],
    ['a1,b[2,4],c', ['a1', 'b2', 'b4', 'c']],
    ['r[1-2]n[1-2]', ['r1n1', 'r1n2', 'r2n1', 'r2n2']],
    ['n[1-2]-ib', ['n1-ib', 'n2-ib']],
  ]
  for (const [text, names] of cases) t.same(expandHostlist(text), names, text)
})

t.test('what is no host list, or too long, is refused', async (t) => {
  for (const text of ['', 'n[', 'n]', 'n[a]', 'n[3-1]', 'n[[1]]', 'n1,,n2', 'n[1-99999999]', 'a b', '$(x)']) {
    t.throws(() => expandHostlist(text), { code: 'message-invalid' }, text)
  }
})

t.test('CPU lists go both ways', async (t) => {
  t.same(parseCpuList('0-2,7'), [0, 1, 2, 7])
  t.equal(renderCpuList([7, 2, 1, 0]), '0-2,7')
  t.throws(() => parseCpuList('3-1'), { code: 'message-invalid' })
  t.throws(() => parseCpuList('a'), { code: 'message-invalid' })
})

t.test("Slurm's abstract CPUs count threads within cores within sockets", async (t) => {
  // Two sockets of two cores with two threads, numbered as Linux often does: second threads come last.
  const topology = [0, 1, 2, 3, 4, 5, 6, 7].map((cpu) => ({ cpu, socket: cpu % 2, core: Math.floor((cpu % 4) / 2) }))
  t.same(toMachineCpus([0, 1, 2, 3], topology), [0, 4, 2, 6])
  t.same(toMachineCpus([4, 5], topology), [1, 5])
  t.equal(toMachineCpus([8], topology), undefined)
})
