// What a VM becomes when it is told its identity, through the real agent in namespaces of its own.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { identityTag as tag } from '../../../lib/guest/channel/identity.ts'
import { joinTexts, u64Field } from '../../../lib/guest/frame/fields.ts'
import { frameType } from '../../../lib/guest/frame/frame.ts'
import { Task } from './task.ts'
import { checkGuest, type Guest, startGuest, user, userFields } from './with-agent.ts'

t.setTimeout(120_000)

const etc = (guest: Guest, name: string): string => readFileSync(join(guest.agent.folder, 'etc', name), 'utf8')
const nic = '52:54:00:12:34:56'

t.test('a fresh VM becomes who it is told to be, also twice', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  t.match(await guest.host.greeted(), { state: 'fresh', sessions: [] })
  const hostsBefore = etc(guest, 'hosts')
  const fields = [
    ...userFields,
    [tag.hostname, 'node7'],
    [tag.nic, joinTexts([nic, '10.77.0.5/24', '1400'])],
    [tag.gateway, '10.77.0.1'],
    [tag.hosts, joinTexts(['10.77.0.5+2', 'node[7+2]', 'vm0', '2'])],
    [tag.entropy, Buffer.alloc(48, 3)],
    [tag.node, 'n1'],
    [99, 'a field of the future'],
  ] as const
  for (const round of ['first', 'again']) {
    t.equal(await guest.host.identify(fields), '', round)
    t.equal(guest.agent.inside(['hostname']), 'node7\n', `${round}: host name`)
    t.equal(etc(guest, 'hostname'), 'node7\n')
    const block =
      "# vmrm: begin of the job's hosts\n10.77.0.5 node7 vm0\n10.77.0.6 node8\n# vmrm: end of the job's hosts\n"
    t.equal(etc(guest, 'hosts'), hostsBefore + block, `${round}: hosts, once`)
    t.match(guest.agent.inside(['ip', '-o', 'address', 'show', 'nic0']), /inet 10\.77\.0\.5\/24 /)
    t.match(guest.agent.inside(['ip', '-o', 'link', 'show', 'nic0']), /UP.* mtu 1400 /)
    t.match(guest.agent.inside(['ip', '-o', 'link', 'show', 'lo']), /UP/)
    t.match(guest.agent.inside(['ip', 'route']), /^default via 10\.77\.0\.1 dev nic0/)
    t.match(etc(guest, 'passwd'), /\ntess:x:4321:4321:Tess:\/tmp:\/bin\/sh\n$/)
    t.match(etc(guest, 'shadow'), /\ntess:\*:19000:0:99999:7:::\n$/)
    t.match(etc(guest, 'group'), /\ntess:x:4321:tess\ncrew:x:4322:tess\n$/)
  }
  guest.host.sendHello()
  t.match(await guest.host.greeted(), { state: 'identified' })
  checkGuest(t, guest)
})

t.test('a clone takes another identity: nothing of the old one is left', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const identity = (name: string, uid: number, octet: number) =>
    [
      [tag.hostname, name],
      [tag.user, joinTexts([user.name, String(uid), String(uid), `${guest.agent.folder}/home-${name}`, '/bin/sh', ''])],
      [tag.group, joinTexts([user.name, String(uid)])],
      [tag.nic, joinTexts([nic, `10.77.${octet}.5/24`, ''])],
      [tag.gateway, `10.77.${octet}.1`],
      [tag.hosts, joinTexts([`10.77.${octet}.5`, name, `n-${name}`, '1'])],
    ] as const
  t.equal(await guest.host.identify(identity('old', 5001, 1)), '')
  t.equal(await guest.host.identify(identity('new', 5002, 2)), '')
  const all = ['passwd', 'group', 'hosts'].map((f) => etc(guest, f)).join('')
  t.notMatch(all, /5001|10\.77\.1\.|old/)
  t.equal((all.match(/^tess:/gm) ?? []).length, 2, 'one user, one group')
  t.notMatch(guest.agent.inside(['ip', 'address']), /10\.77\.1\./)
  t.notMatch(guest.agent.inside(['ip', 'route']), /10\.77\.1\./)
  t.equal(
    guest.agent.inside(['stat', '-c', '%u %g %a', `${guest.agent.folder}/home-new`]),
    '5002 5002 700\n',
    'the home folder is made',
  )
  const task = new Task(guest.host, { argv: ['id', '-u'] })
  await task.ended()
  t.equal(task.outText, '5002\n')
  checkGuest(t, guest)
})

t.test('mounts are made, once, and home comes from one', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const target = `${guest.agent.folder}/a/b`
  const fields = [
    [tag.user, joinTexts([user.name, '4321', '4321', `${target}/home`, '/bin/sh', ''])],
    [tag.mount, joinTexts(['tmpfs', 'files', target, 'rw,nosuid,nodev,_netdev,size=1m,mode=0755'])],
  ] as const
  for (const round of ['first', 'again']) {
    t.equal(await guest.host.identify(fields), '', round)
    const mounts = guest.agent
      .inside(['cat', '/proc/self/mountinfo'])
      .split('\n')
      .filter((l) => l.includes(target))
    t.equal(mounts.length, 1, round)
    t.match(mounts[0], /rw,nosuid,nodev.* - tmpfs files rw,size=1024k,mode=755/)
  }
  t.equal(guest.agent.inside(['ls', target]), '', 'no home folder is made on a mount')
  checkGuest(t, guest)
})

t.test('what fails is named', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const matrix = [
    [
      [tag.mount, joinTexts(['nosuchfs', 'src', '/tmp', ''])],
      /^cannot mount src on \/tmp \(type nosuchfs, options \): No such device$/,
    ],
    [
      [tag.mount, joinTexts(['nfs4', 'nowhere', '/tmp', ''])],
      /^cannot mount nowhere on \/tmp: the source is no SERVER:\/PATH$/,
    ],
    [
      [tag.mount, joinTexts(['tmpfs', 'x', '/proc/nope', ''])],
      /^cannot mount x on \/proc\/nope: cannot make the folder: No such file or directory$/,
    ],
    [
      [tag.nic, joinTexts(['52:54:00:00:00:01', '10.0.0.1/8', ''])],
      /^no network device has the address 52:54:00:00:00:01$/,
    ],
    [[tag.nic, joinTexts([nic, '10.0.0.999/8', ''])], /^10\.0\.0\.999\/8 is no address$/],
    [[tag.nic, joinTexts([nic, '10.0.0.1/8', '9'])], /^cannot set the MTU of nic0 to 9: Invalid argument$/],
    [[tag.hostname, 'a b'], /field 2 makes no sense/],
    ...[
      ['10.0.0.1', 'a\nb', 'n1', '1'],
      ['10.0.0.1', 'a', 'n1'],
      ['10.0.0.1+2', 'a', 'n1', '2'],
      ['10.0.0.1', 'a[1+2]', 'n1', '1'],
      ['10.0.0.1+2', 'a[1+2]', 'n[1+2]', '2'],
      ['10.0.0.1+2', 'a[1+2]', 'n1', '3'],
      ['10.0.0.1+2', 'a[1+2]', 'n1', '1'],
      ['10.0.0.1+2', 'a[1+2]', 'n[1+2]', '0,2'],
      ['255.255.255.254+3', 'a[1+3]', 'n1', '3'],
      ['10.0.0.1+70000', 'a[1+70000]', 'n1', '70000'],
      ['10.0.0.1,', 'a', 'n1', '1'],
      ['10.0.0.1', 'a[1+1', 'n1', '1'],
      ['10.0.0.1', 'a[1+0]', 'n1', '1'],
      ['10.0.0.1', `${'a'.repeat(250)}[1234567+1]`, 'n1', '1'],
      ['::1', 'a', 'n1', '1'],
    ].map((hosts) => [[tag.hosts, joinTexts(hosts)], /field 5 makes no sense/] as const),
    [[tag.user, joinTexts(['eve', '0', '0', '/', '/bin/sh', ''])], /field 6 makes no sense/],
    [[tag.user, joinTexts(['root', '5', '5', '/', '/bin/sh', ''])], /field 6 makes no sense/],
    [[tag.user, joinTexts(['e:ve', '7', '7', '/', '/bin/sh', ''])], /field 6 makes no sense/],
    [[tag.user, joinTexts(['eve', '7', '7', '/', '/bin/sh', 'a:b'])], /field 6 makes no sense/],
    [[tag.mount, joinTexts(['tmpfs', 'x', '/tmp/../etc', ''])], /field 8 makes no sense/],
  ] as const
  const before = ['passwd', 'group', 'shadow', 'hosts'].map((f) => etc(guest, f))
  for (const [field, complaint] of matrix) t.match(await guest.host.identify([field]), complaint)
  t.strictSame(
    ['passwd', 'group', 'shadow', 'hosts'].map((f) => etc(guest, f)),
    before,
    'the files are as they were',
  )
  guest.host.sendHello()
  t.match(await guest.host.greeted(), { state: 'fresh' }, 'it is still nobody')
  checkGuest(t, guest)
})

t.test('while an identity waits the agent answers, and only the last identity counts', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  // The NIC that never comes makes it wait.
  const waiting = guest.host.identify([[tag.nic, joinTexts(['52:54:00:00:00:01', '10.0.0.1/8', ''])]])
  guest.host.send({ type: frameType.ping, payload: Buffer.from('are you there') })
  const pong = await guest.host.until('PONG', () => guest.host.daemonFrames.find((f) => f.type === frameType.pong))
  t.equal(pong.payload.toString(), 'are you there')
  t.notOk(guest.host.daemonFrames.some((f) => f.type === frameType.identityDone))
  const last = guest.host.identify(userFields)
  t.strictSame(await Promise.all([waiting, last]), ['', ''])
  t.equal(guest.host.daemonFrames.filter((f) => f.type === frameType.identityDone).length, 1)
  checkGuest(t, guest)
})

t.test('a user of the master image with the same number gives way, root never', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const root = etc(guest, 'passwd').split('\n')[0]
  guest.agent.inside([
    'sh',
    '-c',
    'echo "debian:x:4321:4321::/home/debian:/bin/sh" >> /etc/passwd; printf "crew:x:4322:ann,bob" >> /etc/group',
  ])
  t.equal(await guest.host.identify(userFields), '')
  t.notMatch(etc(guest, 'passwd'), /debian:/)
  t.match(etc(guest, 'group'), /\ncrew:x:4322:ann,bob,tess\n$/, 'members of a group that fits stay')
  t.equal(await guest.host.identify([[tag.user, joinTexts(['root', '0', '0', '/root', '/bin/sh', ''])]]), '')
  t.equal(etc(guest, 'passwd').split('\n')[0], root)
  const task = new Task(guest.host, { argv: ['id', '-u'] })
  await task.ended()
  t.equal(task.outText, '0\n', "root's job is root's")
  checkGuest(t, guest)
})

t.test('a user and groups of a directory take the place of others of their names in the image', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const home = `${guest.agent.folder}/home-of-alice`
  const image = [
    `echo "alice:x:1000:1000::${home}:/bin/sh" >> /etc/passwd`,
    'echo "alice:!locked:1::::::" >> /etc/shadow',
    'printf "staff:x:50:bob\\nalice:x:1000:\\n" >> /etc/group',
    `mkdir ${home} && chown 1000:1000 ${home}`,
  ]
  guest.agent.inside(['sh', '-ec', image.join('\n')])
  const fields = [
    [tag.user, joinTexts(['alice', '4294967294', '2500', home, '/bin/no-such-shell', 'Alice Ü'])],
    [tag.group, joinTexts(['staff', '2500'])],
    [tag.group, joinTexts(['domain users', '2501'])],
    [tag.group, joinTexts(['CORP\\proj', '2502'])],
    [tag.group, joinTexts(['', '2503'])],
  ] as const
  t.equal(await guest.host.identify(fields), '')
  t.strictSame(etc(guest, 'passwd').match(/^alice:.*$/gm), [`alice:x:4294967294:2500:Alice Ü:${home}:/bin/sh`])
  t.equal(etc(guest, 'shadow').match(/^alice:/gm)?.length, 1)
  t.strictSame(etc(guest, 'group').match(/^staff:.*$/gm), ['staff:x:2500:alice'])
  t.equal(guest.agent.inside(['stat', '-c', '%u %g', home]), '4294967294 2500\n', 'the home is theirs too')
  const task = new Task(guest.host, { argv: ['sh', '-c', 'id -un; id -G; id -Gnz 2>/dev/null | tr "\\0" ","'] })
  await task.ended()
  t.equal(task.outText, 'alice\n2500 2501 2502 2503\nstaff,domain users,CORP\\proj,2503,')
  for (const name of ['a,b', 'a/b', '#a', ' a', 'a ', '-']) {
    t.match(await guest.host.identify([[tag.group, joinTexts([name, '7'])]]), /field 7 makes no sense/, name)
  }
  checkGuest(t, guest)
})

t.test('the clock is set by CLOCK (to what it is: there is one clock for all namespaces)', async (t) => {
  const guest = await startGuest(t)
  guest.host.send({ type: frameType.clock, payload: Buffer.alloc(0) })
  guest.host.send({ type: frameType.clock, payload: u64Field(0n) })
  const task = new Task(guest.host, { argv: ['date', '+%Y'] })
  await task.ended()
  t.equal(task.outText, `${new Date().getFullYear()}\n`)
  checkGuest(t, guest)
})
