import t from 'tap'
import { listRunNetworks, setUpRunNetwork, tearDownRunNetwork } from '../../lib/network/run-network.ts'
import { planRunNetwork } from '../../lib/network/run-plan.ts'
import { arp, broadcastMac, ethernet, everyone, ipv4, ipv4Payload, word } from './support/frames.ts'
import { type Guest, gateway, ip, Lab, type Node, qemuUid, run } from './support/lab.ts'

const lab = new Lab()
t.teardown(() => lab.close())
const [one, two] = lab.nodes
const guest = (node: Node, vni: number, index: number, last: number) =>
  lab.addGuest({ node, vni, index, address: `10.77.0.${last}`, mac: `52:54:76:00:00:0${last}` })

const red = 0xa00001
const blue = 0xb00001
const [a1, a2, a3] = [guest(one, red, 0, 2), guest(one, red, 1, 3), guest(two, red, 0, 4)] as const
const [b1, b2] = [guest(one, blue, 0, 5), guest(two, blue, 0, 6)] as const
const nft = (namespace: string, ...args: string[]) =>
  run('/usr/bin/nsenter', `--net=/run/netns/${namespace}`, '/usr/sbin/nft', ...args)
const rules = (namespace: string) =>
  nft(namespace, 'list', 'ruleset')
    .split(/^(?=table )/m)
    .map((table) => table.trim())
    .sort()
/** Which devices there are and what was set of them; not what the kernel finds out by itself, such as carriers. */
const devices = (namespace: string) =>
  ip(namespace, '-o', 'link').replace(/ <.*?>| qdisc \S+| state \S+| qlen \d+|link\/ether \S+/g, '')
const stateOf = (node: Node) => [
  devices(node.name),
  rules(node.name),
  devices(node.services),
  ip(node.services, 'route'),
  rules(node.services),
]

await lab.setUpNodes()
const before = lab.nodes.map(stateOf)
await lab.startRun([a1, a2, a3])
await lab.startRun([b1, b2])

/** Where a frame may be heard. */
const places = {
  'a2, same node': [a2.namespace, 'eth0'],
  'a3, other node': [a3.namespace, 'eth0'],
  'services of node 1': [one.services, 'vra00001'],
  'services of node 2': [two.services, 'vra00001'],
  'b1, another run': [b1.namespace, 'eth0'],
  'b2, another run': [b2.namespace, 'eth0'],
  'the node itself': [one.name, 'vba00001'],
  'the wire between the nodes': [two.name, 'vxa00001'],
} as const
type Place = keyof typeof places
const wire = 'the wire between the nodes'
const ours = ['a2, same node', 'a3, other node', 'services of node 1', 'services of node 2', wire] as const

/** Where texts are heard, of those that `send` puts on a wire; it must end with a broadcast of `the end` in each run. */
async function whoHears(texts: readonly string[], send: () => void): Promise<Map<string, Place[]>> {
  const end = word('the end')
  const listeners = await Promise.all(
    (Object.keys(places) as Place[]).map(async (place) => {
      const [namespace, device] = places[place]
      return { place, ...(await lab.begin(namespace, ['listen', device, end, '8000'])) }
    }),
  )
  send()
  for (const speaker of [a1, a3, b1, b2]) speak(speaker, 'the end')
  const heard = new Map<string, Place[]>(texts.map((text) => [text, []]))
  for (const { place, ended, end: stop } of listeners) {
    if (place === 'the node itself') stop() // nothing tells it that this is the end; all others have heard it
    const lines = await ended
    for (const text of texts) if (lines.some((line) => line.includes(word(text)))) heard.get(text)?.push(place)
  }
  return heard
}

const speak = (speaker: Guest, text: string) =>
  lab.act(speaker.namespace, ['send', 'eth0', ipv4({ sender: speaker, to: everyone, text })])

const tagged = `8100000a0800${ipv4Payload(a1.address, a3.address, 'vlan')}`
const cases: { what: string; text: string; frame: string; heardBy: readonly Place[] }[] = [
  {
    what: "A broadcast of one's own",
    text: 'own-bc',
    frame: ipv4({ sender: a1, to: everyone, text: 'own-bc' }),
    heardBy: ours,
  },
  {
    what: "One's own ARP request for a VM on another node",
    text: 'arp-a3',
    frame: arp({ sender: a1, operation: 'request', about: a3.address, text: 'arp-a3' }),
    heardBy: ours,
  },
  {
    what: 'A packet to a VM on another node',
    text: 'to-a3',
    frame: ipv4({ sender: a1, to: a3, text: 'to-a3' }),
    heardBy: ['a3, other node', wire],
  },
  {
    what: 'A packet to a VM on the same node',
    text: 'to-a2',
    frame: ipv4({ sender: a1, to: a2, text: 'to-a2' }),
    heardBy: ['a2, same node'],
  },
  {
    what: 'A packet to the gateway',
    text: 'to-gw',
    frame: ipv4({ sender: a1, to: gateway, text: 'to-gw' }),
    heardBy: ['services of node 1'],
  },
  {
    what: 'An ARP request for the gateway',
    text: 'arp-gw',
    frame: arp({ sender: a1, operation: 'request', about: gateway.address, text: 'arp-gw' }),
    heardBy: ['a2, same node', 'services of node 1'],
  },
  {
    what: "A packet with another VM's MAC",
    text: 'bad-mac',
    frame: ipv4({ sender: { ...a1, mac: a2.mac }, to: everyone, text: 'bad-mac' }),
    heardBy: [],
  },
  {
    what: "A packet with another VM's address",
    text: 'bad-ip',
    frame: ipv4({ sender: { ...a1, address: a2.address }, to: everyone, text: 'bad-ip' }),
    heardBy: [],
  },
  {
    what: "A packet with the gateway's address",
    text: 'gw-ip',
    frame: ipv4({ sender: { ...a1, address: gateway.address }, to: everyone, text: 'gw-ip' }),
    heardBy: [],
  },
  {
    what: 'A packet that is all the gateway',
    text: 'gw-all',
    frame: ipv4({ sender: gateway, to: everyone, text: 'gw-all' }),
    heardBy: [],
  },
  {
    what: "An ARP reply that gives another VM's address",
    text: 'arp-ip',
    frame: arp({
      sender: a1,
      claims: { ...a1, address: a2.address },
      operation: 'reply',
      about: a3.address,
      text: 'arp-ip',
    }),
    heardBy: [],
  },
  {
    what: "An ARP reply that gives another VM's MAC",
    text: 'arp-mac',
    frame: arp({ sender: a1, claims: { ...a1, mac: a2.mac }, operation: 'reply', about: a3.address, text: 'arp-mac' }),
    heardBy: [],
  },
  {
    what: 'An ARP reply that claims the gateway',
    text: 'arp-clm',
    frame: arp({
      sender: a1,
      claims: { ...a1, address: gateway.address },
      operation: 'reply',
      about: a2.address,
      text: 'arp-clm',
    }),
    heardBy: [],
  },
  {
    what: 'IPv6',
    text: 'ipv6',
    frame: ethernet({ to: broadcastMac, from: a1.mac, type: '86dd', payload: word('ipv6').repeat(6) }),
    heardBy: [],
  },
  {
    what: 'A VLAN tag',
    text: 'vlan',
    frame: ethernet({ to: broadcastMac, from: a1.mac, type: tagged.slice(0, 4), payload: tagged.slice(4) }),
    heardBy: [],
  },
  {
    what: 'LLDP',
    text: 'lldp',
    frame: ethernet({ to: '01:80:c2:00:00:0e', from: a1.mac, type: '88cc', payload: word('lldp').repeat(6) }),
    heardBy: [],
  },
  {
    what: 'A spanning tree message',
    text: 'stp',
    frame: ethernet({ to: '01:80:c2:00:00:00', from: a1.mac, type: '0026', payload: word('stp').repeat(6) }),
    heardBy: [],
  },
  {
    what: 'Another ethertype',
    text: 'other',
    frame: ethernet({ to: broadcastMac, from: a1.mac, type: '88b5', payload: word('other').repeat(6) }),
    heardBy: [],
  },
]

t.test('Frames of a VM', async (t) => {
  // Everyone has spoken once, so that bridges know who is where and a unicast goes to its receiver alone.
  for (const speaker of [a1, a2, a3]) speak(speaker, 'hello')
  for (const { services } of lab.nodes) {
    lab.act(services, ['send', 'vra00001', ipv4({ sender: gateway, to: everyone, text: 'hello' })])
  }
  const frames = cases.map(({ frame }) => frame)
  const texts = cases.map(({ text }) => text)
  const heard = await whoHears(texts, () => lab.act(a1.namespace, ['send', 'eth0', ...frames]))
  for (const { what, text, heardBy } of cases) {
    t.same(heard.get(text), heardBy, `${what} is heard by ${heardBy.join(', ') || 'nobody'}`)
  }
})

t.test("The node's own IP stack hears its VMs only if the filters are gone", async (t) => {
  const [{ address = '' }] = JSON.parse(ip(one.name, '-json', 'link', 'show', 'vba00001'))
  const toNode = (text: string) => ipv4({ sender: a1, to: { mac: address, address: one.underlay }, text })
  const send = (text: string) => whoHears([text], () => lab.act(a1.namespace, ['send', 'eth0', toNode(text)]))
  t.same((await send('filter')).get('filter'), [])
  nft(one.name, 'delete', 'table', 'bridge', 'vmrm_a00001')
  t.same((await send('without')).get('without'), ['the node itself'])
  const folder = t.testdir({ filters: lab.planOf(one, [a1, a2, a3]).filters })
  nft(one.name, '-f', `${folder}/filters`)
  t.same((await send('loaded again')).get('loaded again'), [])
})

t.test("The gateway's frames stay on their node, whatever bridges know", async (t) => {
  const texts = ['gw-says', 'to-gw', 'node']
  const bridgeMac = '02:00:00:00:00:99'
  const heard = await whoHears(texts, () => {
    lab.act(one.services, ['send', 'vra00001', ipv4({ sender: gateway, to: everyone, text: 'gw-says' })])
    // A bridge that does not know where a MAC address is sends to every port.
    ip(one.name, 'link', 'set', 'vsa00001', 'type', 'bridge_slave', 'fdb_flush')
    lab.act(a1.namespace, ['send', 'eth0', ipv4({ sender: a1, to: gateway, text: 'to-gw' })])
    const forged = {
      to: everyone.mac,
      from: bridgeMac,
      type: '0800',
      payload: ipv4Payload(a3.address, a1.address, 'node'),
    }
    lab.act(one.name, ['send', 'vba00001', ethernet(forged)])
  })
  t.same(heard.get('gw-says'), ['a2, same node'], 'what it sends')
  t.same(heard.get('to-gw'), ['a2, same node', 'services of node 1'], 'what is sent to it')
  t.same(heard.get('node'), [], 'and the node itself sends nothing, not even as root')
})

t.test('VXLAN packets', async (t) => {
  const vxlan = (inner: string, vni = red) => `08000000${vni.toString(16).padStart(6, '0')}00${inner}`
  ip(two.name, 'address', 'add', '10.99.0.77/24', 'dev', 'under0')
  const forgeries = [
    { what: 'from a peer, of one of its VMs', text: 'v-good', source: two.underlay, sender: a3, heard: true },
    { what: 'from a stranger, of a VM of a peer', text: 'v-strng', source: '10.99.0.77', sender: a3, heard: false },
    { what: 'from a peer, of the gateway', text: 'v-gw', source: two.underlay, sender: gateway, heard: false },
    { what: "from a peer, of this node's VM", text: 'v-ours', source: two.underlay, sender: a2, heard: false },
    { what: 'from a peer, of a VM of another run', text: 'v-blue', source: two.underlay, sender: b2, heard: false },
  ] as const
  const heard = await whoHears(
    forgeries.map(({ text }) => text),
    () => {
      for (const { text, source, sender } of forgeries) {
        const packet = vxlan(ipv4({ sender, to: everyone, text }))
        t.equal(lab.act(two.name, ['udp', one.underlay, '4789', source, '-', packet]), 'sent')
      }
    },
  )
  for (const { what, text, heard: expected } of forgeries) {
    const places = expected ? ['a2, same node', 'services of node 1'] : []
    t.same(heard.get(text), places, `${what} are ${expected ? 'let in' : 'dropped'}`)
  }
  ip(two.name, 'address', 'delete', '10.99.0.77/24', 'dev', 'under0')
})

t.test('No local user but root can send VXLAN, nor anything through a device of a run', async (t) => {
  const send = (uid: number | undefined, to: string, port: string, device = '-') =>
    lab.act(one.name, ['udp', to, port, '-', device, '00'], uid)
  for (const to of [two.underlay, one.underlay, '127.0.0.1']) {
    t.equal(send(12_345, to, '4789'), 'Operation not permitted', to)
    t.equal(send(undefined, to, '4789'), 'sent', `root to ${to}`)
    t.equal(send(12_345, to, '4790'), 'sent', `another port of ${to}`)
  }
  for (const device of ['vba00001', 'vxa00001', 'vsa00001', 'vta00001-0']) {
    t.equal(send(12_345, a1.address, '9', device), 'Operation not permitted', device)
  }
})

t.test('The host namespace has no address, route or neighbour of a network of guests', async (t) => {
  for (const { name } of lab.nodes) {
    for (const what of [['-4', 'address'], ['route', 'show', 'table', 'all'], ['neigh'], ['-6', 'neigh']]) {
      // An IPv6 multicast route comes with every device that is up; the node's own packets do not leave by it (above).
      const output = ip(name, ...what).replace(/^multicast ff00::.*\n/gm, '')
      t.notMatch(output, /10\.77\.|\bv[bxst][0-9a-f]{6}/, what.join(' '))
    }
    t.notMatch(ip(name, '-o', '-6', 'address'), /\bv[bxst][0-9a-f]{6}/)
  }
})

t.test('TCP', async (t) => {
  const tcp = async (options: {
    server: string
    at: string
    port: string
    client: string
    works: boolean
    from?: string
  }) => {
    const { server, at, port, client, works, from = '0' } = options
    const { ended, end } = await lab.begin(server, ['serve', at, port, '8000'])
    const result = lab.act(client, ['connect', at, port, works ? '5000' : '800', from])
    end()
    await ended.catch(() => {}) // nobody came
    return result
  }
  for (const { what, ...attempt } of [
    {
      what: 'a VM reaches the named port of the services',
      server: one.services,
      at: gateway.address,
      port: '2049',
      client: a1.namespace,
      works: true,
    },
    {
      what: 'a VM of another run too',
      server: one.services,
      at: gateway.address,
      port: '2049',
      client: b1.namespace,
      works: true,
    },
    {
      what: 'a VM on another node reaches its own',
      server: two.services,
      at: gateway.address,
      port: '2049',
      client: a3.namespace,
      works: true,
    },
    {
      what: 'a VM reaches no other port of the services',
      server: one.services,
      at: gateway.address,
      port: '2050',
      client: a1.namespace,
      works: false,
    },
    {
      what: "a VM does not reach another node's services",
      server: two.services,
      at: gateway.address,
      port: '2049',
      client: a1.namespace,
      works: false,
    },
    {
      what: 'the services reach no VM',
      server: a1.namespace,
      at: a1.address,
      port: '2049',
      client: one.services,
      works: false,
    },
    {
      what: 'the services reach no VM from the port they serve either',
      server: a1.namespace,
      at: a1.address,
      port: '2050',
      client: one.services,
      works: false,
      from: '2049',
    },
    {
      what: 'a VM reaches its run on the same node',
      server: a1.namespace,
      at: a1.address,
      port: '7',
      client: a2.namespace,
      works: true,
    },
    {
      what: 'a VM reaches its run on another node, with packets of full size',
      server: a1.namespace,
      at: a1.address,
      port: '7',
      client: a3.namespace,
      works: true,
    },
    {
      what: 'a VM does not reach another run',
      server: b1.namespace,
      at: b1.address,
      port: '7',
      client: a1.namespace,
      works: false,
    },
    {
      what: 'the host does not reach a VM',
      server: a1.namespace,
      at: a1.address,
      port: '7',
      client: one.name,
      works: false,
    },
  ]) {
    const result = await tcp(attempt)
    t.equal(result === '300000', attempt.works, `${what}: ${result}`)
  }
})

t.test('A tap', async (t) => {
  const green = 0xc00001
  const [c1, c2, c3] = [guest(one, green, 0, 7), guest(one, green, 1, 8), guest(two, green, 0, 9)] as const
  for (const node of [one, two]) {
    const plan = lab.planOf(node, [c1, c2, c3])
    const tap = `tuntap add dev vtc00001-0 mode tap user ${qemuUid}`
    const links = plan.links.map((line) => (node === one && line.includes('name vtc00001-0 ') ? tap : line))
    await setUpRunNetwork({ ...plan, links }, node.context)
  }
  for (const other of [c2, c3]) await lab.bootGuest(other)
  const listeners = await Promise.all(
    [c2, c3].map((other) => lab.begin(other.namespace, ['listen', 'eth0', word('the end'), '8000'])),
  )
  const frames = [
    ipv4({ sender: { ...c1, mac: c2.mac }, to: everyone, text: 'bad-mac' }),
    ipv4({ sender: { ...c1, address: c2.address }, to: everyone, text: 'bad-ip' }),
    ipv4({ sender: c1, to: everyone, text: 'the end' }),
  ]
  t.equal(lab.act(one.name, ['tap', 'vtc00001-0', '61002', ...frames]), 'Operation not permitted', 'is nobody else’s')
  t.equal(lab.act(one.name, ['tap', 'vtc00001-0', String(qemuUid), ...frames]), 'written', 'is its QEMU’s')
  for (const { ended } of listeners) {
    const lines = (await ended).join('\n')
    t.ok(lines.includes(word('the end')), 'carries the frames of its VM, to other nodes too')
    t.notOk(lines.includes(word('bad-mac')) || lines.includes(word('bad-ip')), 'and no others')
  }
  for (const { services, context } of lab.nodes) {
    await tearDownRunNetwork({ vni: green, servicesNamespace: services }, context)
  }
})

t.test("On a site's bridge", async (t) => {
  const yellow = 0xe00001
  const [y1, y2] = [guest(one, yellow, 0, 7), guest(one, yellow, 1, 8)] as const
  ip(one.name, 'link', 'add', 'site0', 'type', 'bridge')
  ip(one.name, 'link', 'add', 'uplink0', 'address', 'ea:00:00:00:00:01', 'type', 'veth')
  ip(one.name, 'link', 'set', 'uplink0', 'master', 'site0')
  ip(one.name, 'link', 'set', 'site0', 'up')
  const during = stateOf(one)
  const planOn = (bridge: string) => {
    const plan = planRunNetwork({ vni: yellow, mtu: 1500, qemuUid, vms: [y1, y2], network: { kind: 'bridge', bridge } })
    return lab.withVeths(plan, one, [y1, y2])
  }
  await t.rejects(setUpRunNetwork(planOn('nosuch0'), one.context), { code: 'command-failed' })
  t.same(stateOf(one), during, 'a bridge that is missing leaves nothing')
  await setUpRunNetwork(planOn('site0'), one.context)
  for (const other of [y1, y2]) await lab.bootGuest(other)
  const listeners = await Promise.all(
    [
      [y2.namespace, 'eth0'],
      [one.name, 'site0'],
    ].map(([namespace = '', device = '']) => lab.begin(namespace, ['listen', device, word('the end'), '8000'])),
  )
  t.match(ip(one.name, 'link', 'show', 'site0'), /ea:00:00:00:00:01/, 'the bridge keeps its address')
  const bad = [
    ipv4({ sender: { ...y1, mac: y2.mac }, to: everyone, text: 'bad' }),
    ipv4({ sender: { ...y1, address: y2.address }, to: everyone, text: 'bad' }),
    arp({ sender: y1, claims: { ...y1, address: y2.address }, operation: 'reply', about: y2.address, text: 'bad' }),
    ethernet({
      to: broadcastMac,
      from: y1.mac,
      type: '8100',
      payload: `000a0800${ipv4Payload(y1.address, y2.address, 'bad')}`,
    }),
  ]
  lab.act(y1.namespace, ['send', 'eth0', ...bad, ipv4({ sender: y1, to: everyone, text: 'the end' })])
  for (const { ended } of listeners) t.notMatch((await ended).join(), word('bad'), 'only what is its own gets through')
  await tearDownRunNetwork({ vni: yellow, servicesNamespace: one.services }, one.context)
  t.same(stateOf(one), during, 'teardown leaves the bridge as it was')
  for (const device of ['uplink0', 'site0']) ip(one.name, 'link', 'delete', device)
})

t.test('Setting up a node again leaves its runs as they are', async (t) => {
  const during = lab.nodes.map(stateOf)
  await lab.setUpNodes()
  t.same(lab.nodes.map(stateOf), during)
})

t.test('A set-up that fails or is aborted leaves nothing', async (t) => {
  const during = stateOf(one)
  const lone = guest(one, 0xd00001, 0, 9)
  const plan = lab.planOf(one, [lone])
  const broken = {
    ...plan,
    services: {
      ...plan.services,
      namespace: one.services,
      filters: plan.services?.filters ?? '',
      links: ['link set nosuch up'],
    },
  }
  await t.rejects(setUpRunNetwork(broken, one.context), { code: 'command-failed', quoted: /nosuch/ })
  t.same(stateOf(one), during)
  const controller = new AbortController()
  const log = { ...one.context.log, info: () => {} }
  const started = setUpRunNetwork(plan, { ...one.context, log, signal: controller.signal })
  controller.abort(new Error('enough'))
  await t.rejects(started, /enough/)
  t.same(stateOf(one), during)
})

t.test('What is there is found by its names, and only that', async (t) => {
  ip(one.name, 'link', 'add', 'vb0000ab', 'type', 'veth')
  t.same(await listRunNetworks(one.context), [red, blue])
  await tearDownRunNetwork({ vni: 0xab, servicesNamespace: one.services }, one.context)
  t.match(ip(one.name, 'link', 'show', 'vb0000ab'), /vb0000ab/, "a device of the site's stays")
  ip(one.name, 'link', 'delete', 'vb0000ab')
})

t.test('Teardown is complete when parts are missing already, and again', async (t) => {
  ip(one.name, 'link', 'delete', 'vba00001')
  nft(two.name, 'delete', 'table', 'bridge', 'vmrm_a00001')
  ip(two.name, 'link', 'delete', 'vsa00001')
  nft(two.services, 'flush', 'ruleset')
  await lab.setUpNodes()
  for (const again of ['first', 'again']) {
    for (const { services, context } of lab.nodes) {
      for (const vni of [red, blue]) await tearDownRunNetwork({ vni, servicesNamespace: services }, context)
    }
    t.same(lab.nodes.map(stateOf), before, again)
    t.same(await listRunNetworks(one.context), [])
  }
})
