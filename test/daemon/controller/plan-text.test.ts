import t from 'tap'
import { shareOf } from '../../../lib/daemon/controller/handlers/share-of.ts'
import { packPlan, unpackPlan } from '../../../lib/daemon/controller/ledger/plan-text.ts'
import { openShare } from '../../../lib/daemon/node/runs/open-share.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { formatIpv4 } from '../../../lib/network/ipv4.ts'
import { macOf } from '../../../lib/network/mac.ts'
import { share } from '../../../lib/protocol/messages/share.ts'

const run = { job: 7, restart: 2 }

/** The last node is unlike the others; leases have a gap in the middle. */
function planOf(nodes: number, perNode: number): RunPlan {
  let index = 0
  return {
    ...{ image: 'tiny', revision: '1', vni: 5, prefixLength: 10, gateway: '10.64.0.1', sshSecret: 'ab'.repeat(32) },
    nodes: Array.from({ length: nodes }, (_, at) => ({
      node: `n${at + 1}`,
      underlay: formatIpv4(0x0a63_0001 + at + (at > 2 ? 9 : 0)),
      cpuIds: at === nodes - 1 ? [] : [0, 1, 5],
      memoryMib: at === nodes - 1 ? 700 : 1000,
      vms: Array.from({ length: at === nodes - 1 ? 1 : perNode }, (_, position) => {
        const vm = index++
        const number = vm < 20 ? vm : vm + 100
        const place = { hostname: `t-${String(number).padStart(6, '0')}`, address: formatIpv4(0x0a40_0002 + number) }
        return {
          ...{ index: vm, ...place, mac: macOf('52:54:76', number) },
          ...{ vcpus: position === 0 ? 2 : 1, memoryMib: 300, slots: 1 },
        }
      }),
    })),
  }
}

const recordOf = (plan: RunPlan) => ({
  ...run,
  ...{ state: 'preparing' as const, reason: '', code: '', uid: 1, gid: 2, user: 'alice', account: '', image: 'tiny' },
  ...{ script: 'guest' as const, plan, deadlineMs: 0, beganMs: 0, endedMs: undefined },
})

t.test('a plan comes back from its text as it was', async (t) => {
  const plan = planOf(40, 4)
  // Another text, so that it is read and not remembered.
  const read = unpackPlan(` ${packPlan(plan)}`)
  t.not(read, plan)
  t.same(read, plan)
  t.same(unpackPlan(` ${packPlan({ ...plan, nodes: planOf(1, 1).nodes })}`).nodes.length, 1)
})

t.test('what a node is told hardly grows with the run, and each VM is in it once', async (t) => {
  const plan = planOf(1024, 16)
  const text = packPlan(plan)
  const messages = plan.nodes.map(({ node }) => shareOf(recordOf(plan), node))
  const longest = Math.max(...messages.map((message) => JSON.stringify(message).length))
  t.ok(longest < 1500, `${longest} bytes`)
  t.ok(text.length < 1500, `${text.length} bytes of plan`)
  const seen = new Set<string>()
  for (const message of messages) {
    const opened = openShare(run, share.parse(message))
    const planned = plan.nodes.find(({ node }) => node === message?.node)
    for (const { name, address, mac, hostname } of opened.vms) seen.add(`${name} ${address} ${mac} ${hostname}`)
    if (opened.node !== 'n2' && opened.node !== 'n1024') continue
    t.same(
      opened.vms.map(({ name: _, ...vm }) => vm),
      planned?.vms.map(({ slots: _, ...vm }) => vm),
    )
    const peers = opened.peers()
    t.equal(peers.length, 1023)
    t.equal(peers.reduce((sum, { vms }) => sum + vms.length, 0) + opened.vms.length, 1023 * 16 + 1)
    t.match(peers[0], { node: 'n1', address: plan.nodes[0]?.underlay, vms: { length: 16 } })
  }
  t.equal(seen.size, 1023 * 16 + 1)
})

t.test('a share that contradicts itself is refused', async (t) => {
  const message = shareOf(recordOf(planOf(3, 2)), 'n2')
  if (message === undefined) throw new Error('no share')
  const { layout } = message
  for (const wrong of [
    { node: 'n9' },
    { layout: { ...layout, vms: '2,2' } },
    { layout: { ...layout, underlays: '10.0.0.1' } },
    { layout: { ...layout, hostnames: 't-[1+6]' } },
    { layout: { ...layout, vms: '65536,65536,1' } },
    { layout: { ...layout, hostnames: 't-[1+99999999]' } },
    { vmCpus: '1*3' },
  ]) {
    t.throws(() => openShare(run, { ...message, ...wrong }), { code: 'message-invalid' }, JSON.stringify(wrong))
  }
})
