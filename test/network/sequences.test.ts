import t from 'tap'
import {
  packAddresses,
  packCounts,
  packMacs,
  packNames,
  parseAddresses,
  parseCounts,
  parseMacs,
  parseNames,
} from '../../lib/network/sequences.ts'

const all = (sequence: { length: number; slice(from: number, count: number): readonly string[] }) =>
  sequence.slice(0, sequence.length)

t.test('names become ranges and come back as they were', async (t) => {
  const matrix: readonly [readonly string[], string][] = [
    [['sim-0001', 'sim-0002', 'sim-0003'], 'sim-[0001+3]'],
    [['vm9', 'vm10', 'vm11'], 'vm[9+3]'],
    [['n1', 'n3', 'n4', 'login'], 'n1,n[3+2],login'],
    [['r1n1', 'r1n2', 'r2n1', 'r2n2'], 'r1n[1+2],r2n[1+2]'],
    [['a1-ib0', 'a2-ib0'], 'a[1+2]-ib0'],
    [['n08', 'n09', 'n10'], 'n[08+3]'],
    [['n9', 'n010'], 'n9,n010'],
    [['b', 'a', 'a'], 'b,a,a'],
    [['x'], 'x'],
    [[], ''],
  ]
  for (const [names, text] of matrix) {
    t.equal(packNames(names), text)
    t.same(all(parseNames(text, 100)), names, text)
  }
})

t.test('addresses, MAC addresses and counts do the same', async (t) => {
  const addresses = ['10.0.0.254', '10.0.0.255', '10.0.1.0', '10.9.0.1', '10.0.0.1']
  t.equal(packAddresses(addresses), '10.0.0.254+3,10.9.0.1,10.0.0.1')
  t.same(all(parseAddresses(packAddresses(addresses), 5)), addresses)
  const macs = ['52:54:76:00:00:ff', '52:54:76:00:01:00', '52:54:76:ff:ff:ff']
  t.equal(packMacs(macs), '52:54:76:00:00:ff+2,52:54:76:ff:ff:ff')
  t.same(all(parseMacs(packMacs(macs), 3)), macs)
  t.equal(packCounts([16, 16, 16, 0, 2, 2]), '16*3,0,2*2')
  t.same(parseCounts('16*3,0,2*2', 6), [16, 16, 16, 0, 2, 2])
})

t.test('a part of a long sequence is read without the rest', async (t) => {
  const names = parseNames('a[1+10],b,c[1+10]', 100)
  t.equal(names.length, 21)
  t.same(names.slice(9, 3), ['a10', 'b', 'c1'])
  t.same(names.slice(20, 5), ['c10'])
  t.same(names.slice(21, 5), [])
})

t.test('what is no such text is refused, and what stands for more than it may', async (t) => {
  for (const text of [
    'a[1-3]',
    'a[1+0]',
    'a[1+3',
    'a,',
    ',a',
    'a b',
    'a[999999999+2]',
    '[1+2][1+2]',
    'a/b',
    'a[1+101]',
  ]) {
    t.throws(() => parseNames(text, 100), { code: 'message-invalid' }, text)
  }
  for (const text of ['10.0.0', '10.0.0.256', '255.255.255.255+2', '10.0.0.1+101', '10.0.0.1,', '10.0.0.01', '1+1']) {
    t.throws(() => parseAddresses(text, 100), { code: 'message-invalid' }, text)
  }
  for (const text of ['52:54', 'ff:ff:ff:ff:ff:ff+2', '52:54:76:00:00:0G', '52:54:76:00:00:00+101']) {
    t.throws(() => parseMacs(text, 100), { code: 'message-invalid' }, text)
  }
  for (const text of ['', '1*0', '-1', '1*101', '1**2', '1e3', '1,']) {
    t.throws(() => parseCounts(text, 100), { code: 'message-invalid' }, text)
  }
})
