import t from 'tap'
import { addressPool, hostnameRange } from '../../lib/network/address.ts'
import {
  addressAt,
  addressCount,
  formatIpv4,
  hostsOfNetwork,
  parseIpv4,
  parseIpv4Network,
  rangesOverlap,
} from '../../lib/network/ipv4.ts'
import { gatewayMac, isStationMac, macOf, parseMacPrefix } from '../../lib/network/mac.ts'

t.test('Addresses are read and written without loss', async (t) => {
  for (const text of ['0.0.0.0', '10.76.0.1', '127.255.255.254', '255.255.255.255']) {
    t.equal(formatIpv4(parseIpv4(text) ?? Number.NaN), text)
  }
})

for (const text of [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '256.1.1.1',
  '01.2.3.4',
  '1.2.3.4 ',
  '1.2.3.-4',
  '1.2.3.x',
  '0x1.2.3.4',
  '1.2.3.4\n',
]) {
  t.test(`${JSON.stringify(text)} is no address`, async (t) => t.equal(parseIpv4(text), undefined))
}

for (const [text, first, last, count] of [
  ['10.76.0.0/16', '10.76.0.1', '10.76.255.254', 65534],
  ['192.168.7.128/30', '192.168.7.129', '192.168.7.130', 2],
  ['10.0.0.4/31', '10.0.0.4', '10.0.0.5', 2],
  ['255.255.255.255/32', '255.255.255.255', '255.255.255.255', 1],
  ['0.0.0.0/0', '0.0.0.1', '255.255.255.254', 2 ** 32 - 2],
] as const) {
  t.test(`The hosts of ${text} go from ${first} to ${last}`, async (t) => {
    const network = parseIpv4Network(text)
    if (network === undefined) return t.fail('not parsed')
    const hosts = hostsOfNetwork(network)
    t.same([formatIpv4(hosts.first), formatIpv4(hosts.last), addressCount(hosts)], [first, last, count])
    t.equal(formatIpv4(addressAt(hosts, count - 1)), last)
    t.throws(() => addressAt(hosts, count))
    t.throws(() => addressAt(hosts, -1))
  })
}

for (const text of ['10.76.0.1/16', '10.76.0.0/33', '10.76.0.0', '10.76.0.0/', '10.76.0.0/016', 'x/8']) {
  t.test(`${JSON.stringify(text)} is no network`, async (t) => t.equal(parseIpv4Network(text), undefined))
}

t.test('Ranges overlap when they share an address', async (t) => {
  const a = { first: 10, last: 20 }
  t.equal(rangesOverlap(a, { first: 20, last: 30 }), true)
  t.equal(rangesOverlap(a, { first: 0, last: 100 }), true)
  t.equal(rangesOverlap(a, { first: 21, last: 30 }), false)
  t.equal(rangesOverlap(a, { first: 0, last: 9 }), false)
})

t.test('A MAC address is made of the prefix of the cluster and the number of the lease', async (t) => {
  t.equal(parseMacPrefix('02:A1:b2'), '02:a1:b2')
  t.equal(macOf('02:a1:b2', 0), '02:a1:b2:00:00:00')
  t.equal(macOf('02:a1:b2', 0xfedcba), '02:a1:b2:fe:dc:ba')
  t.throws(() => macOf('02:a1:b2', 2 ** 24))
  t.ok(isStationMac(gatewayMac) && !isStationMac('03:00:00:00:00:00') && !isStationMac('02:00:00:00:00'))
})

for (const text of ['00:a1:b2', '03:a1:b2', '01:00:5e', '02:76:6d', '02:a1', '02:a1:b2:c3', '02-a1-b2']) {
  t.test(`${text} is refused as a MAC prefix`, async (t) => t.equal(parseMacPrefix(text), undefined))
}

t.test('A private image leases every host address of its network but the first, which is the gateway', async (t) => {
  const pool = addressPool({ kind: 'private', addresses: '10.77.0.0/24' })
  t.match(pool, { title: '10.77.0.0/24', size: 253, prefixLength: 24, gateway: '10.77.0.1' })
  t.same([pool.at(0), pool.at(252)], ['10.77.0.2', '10.77.0.254'])
  t.throws(() => pool.at(253))
})

t.test("An image on a site's bridge leases what the site gave it, and knows a gateway if there is one", async (t) => {
  const network = { kind: 'bridge', addresses: '192.168.0.0/16', first: '192.168.3.9', last: '192.168.4.8' } as const
  const pool = addressPool(network)
  t.match(pool, { title: '192.168.3.9-192.168.4.8', size: 256, prefixLength: 16, gateway: undefined })
  t.equal(pool.at(255), '192.168.4.8')
  t.equal(addressPool({ ...network, gateway: '192.168.0.1' }).gateway, '192.168.0.1')
})

const inside = { kind: 'bridge', addresses: '192.168.3.0/24' } as const
for (const [what, network] of [
  ['a network with host bits', { kind: 'private', addresses: '10.77.0.1/24' }],
  ['a network without room', { kind: 'private', addresses: '10.77.0.0/31' }],
  ['a range outside its network', { ...inside, first: '192.168.3.9', last: '192.168.4.9' }],
  ['a reversed range', { ...inside, first: '192.168.3.9', last: '192.168.3.8' }],
  ['a range with the broadcast address', { ...inside, first: '192.168.3.9', last: '192.168.3.255' }],
  ['a range with its gateway', { ...inside, first: '192.168.3.1', last: '192.168.3.9', gateway: '192.168.3.5' }],
] as const) {
  t.test(`${what} cannot be leased from, and that is a mistake of the configuration`, async (t) => {
    t.throws(() => addressPool(network), { code: 'config-invalid' })
  })
}

t.test('Hostnames come by lease number', async (t) => {
  const range = hostnameRange('tiny-[0001-9999]')
  t.equal(range.size, 9999)
  t.equal(range.at(9998), 'tiny-9999')
  t.throws(() => hostnameRange('tiny'), { code: 'config-invalid' })
})
