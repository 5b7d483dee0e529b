import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import t from 'tap'
import { createLog, silentLog } from '../../lib/log.ts'
import { chooseAccelerator, probeAccelerator } from '../../lib/vm/accelerator.ts'

const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith('vmrm-accelerator-'))
const before = leftovers()
const nobody = { uid: 61_113, gid: 61_113 }

t.test('Under TCG the guest of the probe runs, as another user too', async (t) => {
  t.equal(await probeAccelerator('tcg', { log: silentLog }), undefined)
  t.equal(await probeAccelerator('tcg', { log: silentLog, owner: nobody }), undefined)
})

t.test('What is configured is not probed', async (t) => {
  for (const wanted of ['kvm', 'qemu'] as const) {
    t.equal(await chooseAccelerator({ wanted, log: silentLog, emulator: '/nonexistent' }), wanted)
  }
})

for (const [what, options, problem] of [
  ['QEMU is missing', { emulator: '/nonexistent' }, /nonexistent/],
  ['QEMU does nothing', { emulator: '/bin/true' }, /ended with 0/],
  ['QEMU takes no such options', { emulator: '/usr/bin/yes' }, /yes/],
] as const) {
  t.test(`If ${what}, it is TCG with one warning`, async (t) => {
    const lines: string[] = []
    const log = createLog({ level: 'debug', write: (line) => lines.push(line) })
    t.equal(await chooseAccelerator({ wanted: 'auto', log, ...options }), 'qemu')
    t.equal(lines.length, 1)
    t.match(lines[0], /warn accelerator.no-kvm/)
    t.match(lines[0], problem)
  })
}

t.test('KVM is chosen if and only if a guest runs under it', async (t) => {
  const problem = await probeAccelerator('kvm', { log: silentLog })
  t.equal(await chooseAccelerator({ wanted: 'auto', log: silentLog }), problem === undefined ? 'kvm' : 'qemu')
  t.comment(problem ?? 'this machine has KVM')
})

t.test('A probe can be aborted', async (t) => {
  const signal = AbortSignal.timeout(1)
  await t.rejects(chooseAccelerator({ wanted: 'auto', log: silentLog, signal, emulator: '/usr/bin/yes' }), {
    name: 'TimeoutError',
  })
})

t.test('No probe leaves a file', async (t) => t.same(leftovers(), before))
