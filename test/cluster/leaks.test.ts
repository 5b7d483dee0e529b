// The leak ledger sees each kind of thing that a job could leave, by leaving one of each on purpose. Uses the shared cluster.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { withCluster } from '../support/cluster.ts'
import { compareLedgers, takeLedger } from '../support/leaks.ts'

t.setTimeout(120_000)

const inServices = ['nsenter', '--net=/run/netns/vmrm', '--']
const shell = (text: string): string[] => ['sh', '-ec', text]

const domain = `<domain type="qemu"><name>j0r0v0</name><memory unit="MiB">32</memory><os><type machine="pc">hvm</type></os></domain>`

/** Names that no run could have: what a run could is swept away by the node's vmrmd at any moment. What is left, how it is made and removed again, and the line that must tell of it. */
const leaks: readonly { what: string; make: string[]; undo: string[]; told: string }[] = [
  {
    what: 'a domain',
    make: shell(`echo '${domain}' >/tmp/d.xml; virsh -qc qemu:///system define /tmp/d.xml`),
    undo: shell('virsh -qc qemu:///system undefine j0r0v0; rm /tmp/d.xml'),
    told: 'n1 domains: + j0r0v0',
  },
  {
    what: 'an overlay',
    make: shell('mkdir -p /var/lib/vmrm/runs/j0r0/v0; : >/var/lib/vmrm/runs/j0r0/v0/overlay.qcow2'),
    undo: shell('rm -r /var/lib/vmrm/runs/j0r0'),
    told: 'n1 runs: + j0r0/v0/overlay.qcow2',
  },
  {
    what: 'a tap',
    make: ['ip', 'tuntap', 'add', 'leak-tap', 'mode', 'tap'],
    undo: ['ip', 'link', 'delete', 'leak-tap'],
    told: 'n1 devices: + leak-tap',
  },
  {
    what: 'a veth into the services namespace',
    make: ['ip', 'link', 'add', 'leak-out', 'type', 'veth', 'peer', 'name', 'leak-in', 'netns', 'vmrm'],
    undo: ['ip', 'link', 'delete', 'leak-out'],
    told: 'n1 services devices: + leak-in',
  },
  {
    what: 'a table of filters',
    make: ['nft', 'add', 'table', 'bridge', 'vmrm-j0r0'],
    undo: ['nft', 'delete', 'table', 'bridge', 'vmrm-j0r0'],
    told: 'n1 nft: + table bridge vmrm-j0r0 {',
  },
  {
    what: 'a table in the services namespace',
    make: [...inServices, 'nft', 'add', 'table', 'inet', 'vmrm-j0r0'],
    undo: [...inServices, 'nft', 'delete', 'table', 'inet', 'vmrm-j0r0'],
    told: 'n1 services nft: + table inet vmrm-j0r0 {',
  },
  {
    what: 'a cgroup',
    make: ['mkdir', '-p', '/sys/fs/cgroup/memory/vmrm/j0r0'],
    undo: shell('rmdir /sys/fs/cgroup/memory/vmrm/j0r0; rmdir /sys/fs/cgroup/memory/vmrm'),
    told: 'n1 cgroups: + /sys/fs/cgroup/memory/vmrm/j0r0',
  },
  {
    what: 'a mount',
    make: shell('mkdir /tmp/mounted; mount -t tmpfs tmpfs /tmp/mounted'),
    undo: shell('umount /tmp/mounted; rmdir /tmp/mounted'),
    told: 'n1 mounts: + /tmp/mounted',
  },
  {
    what: 'an export',
    make: shell(': >/var/lib/vmrm/exports/j0r0.conf'),
    undo: ['rm', '/var/lib/vmrm/exports/j0r0.conf'],
    told: 'n1 exports: + j0r0.conf',
  },
  {
    what: 'a marker',
    make: shell(': >/run/vmrm/jobs/0'),
    undo: ['rm', '/run/vmrm/jobs/0'],
    told: 'n1 markers: + 0',
  },
]

t.test('the leak ledger', (t) =>
  withCluster(t, async (cluster) => {
    const empty = await takeLedger(cluster.layout)

    for (const { what, make, undo, told } of leaks) {
      await t.test(`tells of ${what}, and that it is gone`, async (t) => {
        t.match(await cluster.run(make, { node: 'n1' }), { exitCode: 0, stderr: '' })
        t.ok(compareLedgers(empty, await takeLedger(cluster.layout)).includes(told))
        t.match(await cluster.run(undo, { node: 'n1' }), { exitCode: 0, stderr: '' })
        t.same(compareLedgers(empty, await takeLedger(cluster.layout)), [])
      })
    }

    await t.test('tells of a QEMU process that libvirt does not know', async (t) => {
      const qemu = cluster.start(['qemu-system-x86_64', '-display', 'none', '-S', '-m', '16'], { node: 'n1' })
      try {
        let found: string[] = []
        for (let tries = 0; tries < 50 && found.length === 0; tries += 1) {
          found = compareLedgers(empty, await takeLedger(cluster.layout))
        }
        t.same(found, ['n1 processes: + qemu-system-x86_64 -display none -S'])
      } finally {
        qemu.kill('SIGKILL')
      }
    })

    await t.test('tells of what is missing, too', async (t) => {
      const path = join(cluster.layout.hosts[1]?.folder ?? '', 'var/lib/vmrm/exports/kept.conf')
      writeFileSync(path, '')
      const before = await takeLedger(cluster.layout)
      rmSync(path)
      t.same(compareLedgers(before, await takeLedger(cluster.layout)), ['n1 exports: - kept.conf'])
    })
  }),
)
