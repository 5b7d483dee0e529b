import t from 'tap'
import { hostnameAt, hostnameCount, parseHostnameRange } from '../../lib/network/hostname-range.ts'
import { runDevices, tapName, vniOfDevice } from '../../lib/network/names.ts'

for (const [text, count, first, last] of [
  ['tiny-[0001-9999]', 9999, 'tiny-0001', 'tiny-9999'],
  ['vm[1-20]', 20, 'vm1', 'vm20'],
  ['a[0-0]-gpu', 1, 'a0-gpu', 'a0-gpu'],
  ['[08-12]', 5, '08', '12'],
] as const) {
  t.test(`${text} has ${count} hostnames from ${first} to ${last}`, async (t) => {
    const range = parseHostnameRange(text)
    if (range === undefined) return t.fail('not parsed')
    t.equal(hostnameCount(range), count)
    t.equal(hostnameAt(range, 0), first)
    t.equal(hostnameAt(range, count - 1), last)
    t.throws(() => hostnameAt(range, count))
  })
}

for (const text of [
  'tiny',
  'tiny-[1-]',
  'tiny-[9-1]',
  'tiny-[01-100]',
  'Tiny-[1-2]',
  '-[1-2]',
  'a[1-2]-',
  'a.b[1-2]',
  'a[1-2][3-4]',
  `${'a'.repeat(62)}[10-20]`,
  'a[1-99999999]',
  'a[1-2]\n',
  'a b[1-2]',
]) {
  t.test(`${JSON.stringify(text)} is no hostname range`, async (t) => t.equal(parseHostnameRange(text), undefined))
}

t.test('Devices are named after the VNI, fit the kernel and lead back to it', async (t) => {
  const names = [...Object.values(runDevices(0xa1b2)), tapName(0xa1b2, 9999)]
  t.same(names, ['vb00a1b2', 'vx00a1b2', 'vs00a1b2', 'vr00a1b2', 'vt00a1b2-9999'])
  t.ok(names.every((name) => name.length <= 15))
  t.equal(vniOfDevice('vb00a1b2', 'bridge'), 0xa1b2)
  t.equal(vniOfDevice('vt00a1b2-3', 'tun'), 0xa1b2)
  for (const vni of [0, 2 ** 24, -1, 1.5]) t.throws(() => runDevices(vni))
})

for (const [name, kind] of [
  ['vb00a1b2', 'dummy'],
  ['vb00a1b2-0', 'bridge'],
  ['vt00a1b2', 'tun'],
  ['vbox0001', 'bridge'],
  ['vx00A1B2', 'vxlan'],
  ['vb00a1b20', 'bridge'],
  ['vbadd', 'bridge'],
  ['eth0', ''],
] as const) {
  t.test(`A ${kind} device ${name} of the site is not taken for ours`, async (t) =>
    t.equal(vniOfDevice(name, kind), undefined),
  )
}
