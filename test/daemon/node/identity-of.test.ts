import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { Image } from '../../../lib/config/image-schema.ts'
import type { Account } from '../../../lib/daemon/account.ts'
import { identityOf } from '../../../lib/daemon/node/vms/identity-of.ts'
import { encodeIdentity } from '../../../lib/guest/channel/identity.ts'
import type { RunLayout } from '../../../lib/protocol/messages/share.ts'
import { vmSshKeys } from '../../../lib/ssh/run-keys.ts'
import { shareFor } from '../../fakes/controller-link.ts'

const run = { job: 7, restart: 0 }
const image = {
  os: { relay: false },
  network: { kind: 'private', mtu: 1450 },
  mounts: { entries: [] },
} as unknown as Image
const account: Account = {
  ...{ name: 'alice', uid: 2001, gid: 2001, gecos: '', home: '/home/alice', shell: '/bin/sh' },
  groups: [{ name: 'alice', gid: 2001 }],
}
const uuid = '6f0c4b9e-8f5e-4d7c-9a2b-0123456789ab'
const secret = randomBytes(32)

function identityWith(options: { account?: Partial<Account>; layout?: Partial<RunLayout> }) {
  const share = shareFor(run, options.layout, secret.toString('hex'))
  const [vm] = share.vms
  if (vm === undefined) throw new Error('no VM')
  return identityOf({
    run,
    uuid,
    node: 'n1',
    share,
    vm,
    image,
    commands: [],
    account: { ...account, ...options.account },
  })
}

t.test("a guest learns neither the run's secret nor the authority's key", async (t) => {
  const identity = identityWith({})
  const payload = encodeIdentity(identity)
  const keys = vmSshKeys({ secret, run: 'j7r0', index: 0, names: ['tiny-0001', 'n1', '10.77.0.2'] })
  t.strictSame(identity.ssh, keys, 'it has the keys of this VM')
  for (const hidden of [secret, secret.toString('hex'), secret.toString('base64')]) t.notOk(payload.includes(hidden))
  const privateKeys = payload.toString('latin1').match(/BEGIN OPENSSH PRIVATE KEY/g)
  t.equal(privateKeys?.length, 2, "its own host key, and the user's")
  t.notOk(keys.known.includes(keys.authorized.split(' ')[1] ?? ''), "the authority is neither the user's key")
  const certified = Buffer.from(keys.known.split(' ')[3] ?? '', 'base64').subarray(-32)
  for (const key of [keys.hostKey, keys.userKey]) {
    t.notOk(Buffer.from(key.replaceAll(/-----.*-----|\n/g, ''), 'base64').includes(certified), 'nor the host key')
  }
})

t.test('the identity in a run of 16,384 VMs is as short as that of one', async (t) => {
  const layout = {
    ...{ nodes: 'n[1+1024]', underlays: '10.99.0.11+1024', vms: '16*1024', slots: '1*16384' },
    ...{ hostnames: 'tiny-[00001+16384]', addresses: '10.77.0.2+16384', macs: '52:54:76:00:00:01+16384' },
  }
  const [many, one] = [identityWith({ layout }), identityWith({})].map((identity) => encodeIdentity(identity).length)
  t.ok((many ?? 0) < (one ?? 0) + 100)
})

t.test('names of directories go along; a group without a usable name keeps its number', async (t) => {
  for (const name of ['eve@corp.example', 'CORP\\Eve', 'Eve.Doe', 'host$', 'domain user']) {
    t.equal(identityWith({ account: { name } }).user.name, name)
  }
  for (const name of ['a:b', 'a,b', 'a/b', '-a', '+', '#a', ' a', 'a ', 'a\nb']) {
    t.throws(() => identityWith({ account: { name } }), { code: 'identity-failed' }, JSON.stringify(name))
  }
  const groups = ['proj', 'domain users', 'CORP\\staff', 'a,b', 'a:b', ''].map((name, at) => ({ name, gid: at + 1 }))
  t.same(
    identityWith({ account: { groups } }).groups.map((group) => group.name),
    ['proj', 'domain users', 'CORP\\staff', '', '', ''],
  )
  t.equal(identityWith({ account: { uid: 4_294_967_294 } }).user.uid, 4_294_967_294)
  t.equal(identityWith({ account: { gid: 100 } }).user.gid, 2001, "the job's own group, whatever the user's first is")
})
