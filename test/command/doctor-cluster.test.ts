// Each check of the doctor, made to fail once in the real cluster by breaking what it checks, and mended again.
import { chmodSync, copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { DaemonName } from '../cluster/daemons.ts'
import { hostNamed } from '../cluster/layout.ts'
import { waitFor } from '../cluster/wait.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'

interface Finding {
  readonly check: string
  readonly verdict: 'ok' | 'warn' | 'fail'
  readonly text: string
  readonly meaning?: string
  readonly mend?: string
}

type Undo = () => Promise<void> | void

interface Case {
  readonly title: string
  /** Default n1. */
  readonly host?: string
  readonly check: string
  readonly verdict: 'warn' | 'fail'
  readonly says: RegExp
  /** Breaks it; returns what mends it. */
  readonly damage: (cluster: Cluster, host: string) => Promise<Undo> | Undo
}

async function examine(cluster: Cluster, host: string): Promise<{ exitCode: number | null; findings: Finding[] }> {
  const { exitCode, stdout, stderr } = await cluster.run(['vmrm', 'doctor', '--json'], { node: host })
  if (stdout === '') throw new Error(`vmrm doctor said nothing: ${stderr}`)
  return { exitCode, findings: JSON.parse(stdout).findings }
}

const folderOf = (cluster: Cluster, host: string): string => hostNamed(cluster.layout, host).folder

/** Replaces text in a file; the text must be there. */
function edit(path: string, change: (text: string) => string): Undo {
  const before = readFileSync(path, 'utf8')
  const after = change(before)
  if (after === before) throw new Error(`nothing to change in ${path}`)
  writeFileSync(path, after)
  return () => writeFileSync(path, before)
}

const configuration =
  (change: (text: string) => string): Case['damage'] =>
  (cluster, host) =>
    edit(join(folderOf(cluster, host), 'etc/vmrm/vmrmd.xml'), change)

/** A file or attribute of the hypervisor element. */
const hypervisor = (attributes: string) =>
  configuration((text) => text.replace(/<hypervisor [^>]*>/, `<hypervisor ${attributes}/>`))

async function reconfigure(cluster: Cluster): Promise<void> {
  const { exitCode, stderr } = await cluster.run(['scontrol', 'reconfigure'])
  if (exitCode !== 0) throw new Error(`scontrol reconfigure: ${stderr}`)
}

const slurmConf =
  (change: (text: string) => string, file = 'slurm.conf.vmrm'): Case['damage'] =>
  async (cluster) => {
    const undo = edit(join(cluster.layout.folder, 'etc-slurm', file), change)
    await reconfigure(cluster)
    return async () => {
      await undo()
      await reconfigure(cluster)
    }
  }

const setting = (key: string, line: string) => slurmConf((text) => text.replace(new RegExp(`^${key}=.*$`, 'm'), line))

const stopped =
  (name: DaemonName, where?: string): Case['damage'] =>
  async (cluster, host) => {
    await cluster.daemon('stop', where ?? host, name)
    return () => cluster.daemon('start', where ?? host, name)
  }

const away =
  (path: (cluster: Cluster, host: string) => string): Case['damage'] =>
  (cluster, host) => {
    const from = path(cluster, host)
    renameSync(from, `${from}.away`)
    return () => renameSync(`${from}.away`, from)
  }

const mode =
  (path: (cluster: Cluster, host: string) => string, wrong: number, right: number): Case['damage'] =>
  (cluster, host) => {
    chmodSync(path(cluster, host), wrong)
    return () => chmodSync(path(cluster, host), right)
  }

const shell =
  (damage: string, mend: string): Case['damage'] =>
  async (cluster, host) => {
    const run = async (script: string): Promise<void> => {
      const { exitCode, stderr } = await cluster.run(['/bin/sh', '-ec', script], { node: host })
      if (exitCode !== 0) throw new Error(`${script}: ${stderr}`)
    }
    await run(damage)
    return () => run(mend)
  }

const part = (name: string) => (cluster: Cluster) => join(cluster.layout.folder, 'usr-lib-vmrm', name)

/** The plug-in as if built for Slurm 23.02: the constant that Slurm compares. */
const otherVersion: Case['damage'] = (cluster) => {
  const path = part('vmrm.so')(cluster)
  const before = readFileSync(path)
  const version = Number(before.readUInt32LE(before.indexOf(Buffer.from([0x08, 0x05, 0x16, 0x00]))))
  if (version !== 0x160508) throw new Error('this test knows Slurm 22.05.8 only')
  const after = Buffer.from(before)
  after.writeUInt32LE(0x170208, before.indexOf(Buffer.from([0x08, 0x05, 0x16, 0x00])))
  renameSync(path, `${path}.away`)
  writeFileSync(path, after, { mode: 0o755 })
  return () => renameSync(`${path}.away`, path)
}

/** A scontrol of the site whose controller lives at another time. */
const clockBehind =
  (seconds: number): Case['damage'] =>
  (cluster, host) => {
    const bin = join(folderOf(cluster, host), 'tmp')
    const stamp = `"$(/bin/date -u -d '${-seconds} seconds' +%Y-%m-%dT%H:%M:%S)"`
    const script = `#!/bin/sh\n/usr/bin/scontrol "$@" | /bin/sed "s/as of .*/as of "${stamp}/\n`
    writeFileSync(join(bin, 'scontrol'), script, { mode: 0o755 })
    const undo = edit(join(folderOf(cluster, host), 'etc/vmrm/vmrmd.xml'), (text) =>
      text.replace('<hypervisor', '<slurm commands="/tmp"/><hypervisor'),
    )
    return async () => {
      await undo()
      rmSync(join(bin, 'scontrol'))
    }
  }

const entryWithout =
  (name: string, change: (text: string) => string): Case['damage'] =>
  (cluster) => {
    const folder = join(cluster.layout.folder, 'images.d')
    const path = join(folder, `${name}.xml`)
    copyFileSync(join(folder, 'tiny.xml'), path)
    const text = readFileSync(path, 'utf8').replace('name="tiny"', `name="${name}"`).replace('tiny-[', `${name}-[`)
    writeFileSync(path, change(text))
    return () => rmSync(path)
  }

const cases: readonly Case[] = [
  {
    title: 'a spelling mistake in vmrmd.xml',
    check: 'configuration',
    verdict: 'fail',
    says: /line 4: .*did you mean cluster/,
    damage: configuration((text) => text.replace('<cluster ', '<clutser ')),
  },
  {
    title: 'an entry of the catalogue that is no XML',
    check: 'catalogue',
    verdict: 'fail',
    says: /bad\.xml/,
    damage: entryWithout('bad', (text) => text.replace('</image>', '')),
  },
  {
    title: 'an entry whose master is not there',
    check: 'catalogue',
    verdict: 'fail',
    says: /image gone: master: .*does not exist/,
    damage: entryWithout('gone', (text) => text.replace(/<master path="[^"]*"/, '<master path="/nowhere/gone.qcow2"')),
  },
  {
    title: 'the off switch',
    check: 'off-switch',
    verdict: 'warn',
    says: /switched off/,
    damage: shell('touch /etc/vmrm/off', 'rm /etc/vmrm/off'),
  },
  {
    title: 'vmrm-run is missing',
    check: 'parts',
    verdict: 'fail',
    says: /vmrm-run is missing/,
    damage: away(part('vmrm-run')),
  },
  {
    title: 'the gate is not executable',
    host: 'ctl',
    check: 'parts',
    verdict: 'fail',
    says: /vmrm-gate is not executable/,
    damage: mode(part('vmrm-gate'), 0o644, 0o755),
  },
  {
    title: 'anybody may change the binary',
    check: 'parts',
    verdict: 'fail',
    says: /vmrm may be changed/,
    damage: mode(part('vmrm'), 0o777, 0o755),
  },
  {
    title: 'slurmctld is down',
    check: 'slurm',
    verdict: 'fail',
    says: /no answer/,
    damage: stopped('slurmctld', 'ctl'),
  },
  {
    title: 'another Prolog',
    check: 'hooks',
    verdict: 'fail',
    says: /Prolog=\/bin\/true does not lead/,
    damage: setting('Prolog', 'Prolog=/bin/true'),
  },
  { title: 'no Epilog', check: 'hooks', verdict: 'fail', says: /Epilog is not set/, damage: setting('Epilog', '') },
  {
    title: "the controller's Prolog is the node's",
    host: 'ctl',
    check: 'hooks',
    verdict: 'fail',
    says: /PrologSlurmctld=.*does not lead/,
    damage: setting('PrologSlurmctld', 'PrologSlurmctld=/usr/lib/vmrm/gate/prolog'),
  },
  {
    title: 'no EpilogSlurmctld',
    host: 'ctl',
    check: 'hooks',
    verdict: 'fail',
    says: /EpilogSlurmctld is not set/,
    damage: setting('EpilogSlurmctld', ''),
  },
  {
    title: 'plain Alloc',
    check: 'prolog-flags',
    verdict: 'fail',
    says: /lacks DeferBatch/,
    damage: setting('PrologFlags', 'PrologFlags=Alloc'),
  },
  {
    title: 'no PrologFlags',
    host: 'ctl',
    check: 'prolog-flags',
    verdict: 'fail',
    says: /lacks Alloc/,
    damage: setting('PrologFlags', ''),
  },
  {
    title: 'NoHold',
    check: 'prolog-flags',
    verdict: 'fail',
    says: /has NoHold/,
    damage: setting('PrologFlags', 'PrologFlags=Alloc,DeferBatch,NoHold'),
  },
  {
    title: 'Serial',
    check: 'prolog-flags',
    verdict: 'fail',
    says: /has Serial/,
    damage: setting('PrologFlags', 'PrologFlags=Alloc,DeferBatch,Serial'),
  },
  {
    title: 'a PrologEpilogTimeout below our own deadline',
    check: 'prolog-timeout',
    verdict: 'fail',
    says: /PrologEpilogTimeout=120 is less than/,
    damage: setting('PrologEpilogTimeout', 'PrologEpilogTimeout=120'),
  },
  {
    title: 'an MpiDefault that does not work in VMs',
    check: 'mpi',
    verdict: 'warn',
    says: /MpiDefault=cray_shasta/,
    damage: slurmConf((text) => text.replace('MpiDefault=none', 'MpiDefault=cray_shasta'), 'slurm.conf'),
  },
  {
    title: 'another SlurmUser',
    check: 'slurm-user',
    verdict: 'fail',
    says: /controller\/@user="daemon"/,
    damage: configuration((text) => text.replace('user="slurm"', 'user="daemon"')),
  },
  {
    title: 'rules at submission without their table',
    host: 'ctl',
    check: 'job-submit',
    verdict: 'warn',
    says: /job_submit_table\.lua is missing/,
    damage: away((cluster, host) => join(folderOf(cluster, host), 'etc/vmrm/job_submit_table.lua')),
  },
  {
    title: 'a table of the rules at submission that is older than vmrmd.xml',
    host: 'ctl',
    check: 'job-submit',
    verdict: 'warn',
    says: /job_submit_table\.lua is not what vmrmd\.xml and the catalogue say now/,
    damage: configuration((text) => text.replace('</vmrmd>', '<submission requeue="required"/></vmrmd>')),
  },
  {
    title: 'default images without their flag',
    host: 'ctl',
    check: 'job-submit',
    verdict: 'fail',
    says: /default-images is missing/,
    damage: shell(
      `cd /etc/vmrm; cp vmrmd.xml /tmp/vmrmd.xml; sed -i 's|</vmrmd>|<submission from-environment="true"/></vmrmd>|' vmrmd.xml
       vmrm job-submit-table --output /etc/vmrm/job_submit_table.lua; rm default-images`,
      'mv /tmp/vmrmd.xml /etc/vmrm/vmrmd.xml; vmrm job-submit-table --output /etc/vmrm/job_submit_table.lua',
    ),
  },
  {
    title: 'default images without lua among the plug-ins of submission',
    host: 'ctl',
    check: 'job-submit',
    verdict: 'fail',
    says: /JobSubmitPlugins= has no lua/,
    damage: async (cluster, host) => {
      const undo = edit(join(folderOf(cluster, host), 'etc/vmrm/vmrmd.xml'), (text) =>
        text.replace('</vmrmd>', '<submission from-environment="true"/></vmrmd>'),
      )
      const back = await slurmConf((text) => text.replace(/^JobSubmitPlugins=/m, '#$&'), 'job_submit.conf.vmrm')(
        cluster,
        host,
      )
      return async () => {
        await back()
        await undo()
      }
    },
  },
  {
    title: 'rules at submission without job_submit.lua',
    host: 'ctl',
    check: 'job-submit',
    verdict: 'fail',
    says: /job_submit\.lua cannot be read/,
    damage: away((cluster) => join(cluster.layout.folder, 'etc-slurm/job_submit.lua')),
  },
  {
    title: 'the plug-in is missing',
    check: 'plug-in',
    verdict: 'fail',
    says: /vmrm\.so cannot be read: ENOENT/,
    damage: away(part('vmrm.so')),
  },
  {
    title: 'the plug-in is for another Slurm',
    check: 'plug-in',
    verdict: 'fail',
    says: /built for Slurm 23\.02, and 22\.05\.8 runs/,
    damage: otherVersion,
  },
  {
    title: 'the plug-in is no plug-in',
    check: 'plug-in',
    verdict: 'fail',
    says: /is no SPANK plug-in/,
    damage: (cluster) => {
      const path = part('vmrm.so')(cluster)
      renameSync(path, `${path}.away`)
      writeFileSync(path, 'x')
      return () => renameSync(`${path}.away`, path)
    },
  },
  {
    title: 'plugstack.conf without the plug-in',
    check: 'plug-in',
    verdict: 'fail',
    says: /plugstack\.conf does not name/,
    damage: (cluster) => edit(join(cluster.layout.folder, 'etc-slurm/plugstack.conf'), () => '# nothing\n'),
  },
  {
    title: 'an optional plug-in',
    check: 'plug-in',
    verdict: 'warn',
    says: /as optional/,
    damage: (cluster) =>
      edit(join(cluster.layout.folder, 'etc-slurm/plugstack.conf.vmrm'), (text) =>
        text.replace(/^required/m, 'optional'),
      ),
  },
  { title: 'munged is down', check: 'munged', verdict: 'fail', says: /munge\.socket\.2/, damage: stopped('munged') },
  {
    title: "the node's vmrmd is down",
    check: 'vmrmd-node',
    verdict: 'fail',
    says: /node\.sock/,
    damage: stopped('vmrmd'),
  },
  {
    title: "the controller's vmrmd is down",
    host: 'ctl',
    check: 'vmrmd-controller',
    verdict: 'fail',
    says: /controller\.sock/,
    damage: stopped('vmrmd'),
  },
  {
    title: "the controller's vmrmd is down, seen from a node",
    check: 'controller-over-munge',
    verdict: 'fail',
    says: /controller at 10\.99\.0\.1:6829/,
    damage: stopped('vmrmd', 'ctl'),
  },
  {
    title: "another node's vmrmd is down, seen from the controller",
    host: 'ctl',
    check: 'nodes-over-munge',
    verdict: 'fail',
    says: /node n2: /,
    damage: stopped('vmrmd', 'n2'),
  },
  {
    title: 'a clock that is 20 s ahead',
    check: 'clocks',
    verdict: 'warn',
    says: /(19|20|21|22) s ahead/,
    damage: clockBehind(20),
  },
  {
    title: 'a clock that is 100 s behind',
    check: 'clocks',
    verdict: 'fail',
    says: /(97|98|99|100|101) s behind/,
    damage: clockBehind(-100),
  },
  { title: 'libvirtd is down', check: 'libvirt', verdict: 'fail', says: /libvirt-sock/, damage: stopped('libvirtd') },
  {
    title: 'libvirtd is down, as vmrmd sees it',
    check: 'vmrmd-node',
    verdict: 'fail',
    says: /cannot start VMs/,
    damage: stopped('libvirtd'),
  },
  {
    title: 'a libvirt that every user may read',
    check: 'libvirt-read-only',
    verdict: 'warn',
    says: /everyone may connect to \S*libvirt-sock-ro/,
    damage: (cluster, host) => {
      const path = join(folderOf(cluster, host), 'run/libvirt/libvirt-sock-ro')
      chmodSync(path, 0o777)
      return () => chmodSync(path, 0o700)
    },
  },
  {
    title: 'a libvirtd with one worker',
    check: 'libvirt-limits',
    verdict: 'warn',
    says: /max_workers = 1/,
    damage: (cluster, host) =>
      edit(join(folderOf(cluster, host), 'etc/libvirt/libvirtd.conf'), (text) =>
        text.replace(/max_workers = \d+/, 'max_workers = 1'),
      ),
  },
  {
    title: 'KVM that QEMU may not use',
    check: 'accelerator',
    verdict: 'fail',
    says: /KVM does not work/,
    damage: hypervisor('accelerator="kvm" group="nogroup"'),
  },
  {
    title: 'KVM that QEMU may not use, with TCG to fall back to',
    check: 'accelerator',
    verdict: 'warn',
    says: /KVM does not work/,
    damage: hypervisor('accelerator="auto" group="nogroup"'),
  },
  {
    title: "QEMU's users are people",
    check: 'qemu-users',
    verdict: 'fail',
    says: /account alice is within uids 2000 to 2009/,
    damage: hypervisor('accelerator="qemu" first-uid="2000" uid-count="10"'),
  },
  {
    title: "QEMU's group is missing",
    check: 'qemu-users',
    verdict: 'fail',
    says: /no group nosuch/,
    damage: hypervisor('accelerator="qemu" group="nosuch"'),
  },
  {
    title: 'open runs',
    check: 'folders',
    verdict: 'fail',
    says: /runs is uid 0, 0755; it must be root's, 0711/,
    damage: mode((cluster, host) => join(folderOf(cluster, host), 'var/lib/vmrm/runs'), 0o755, 0o711),
  },
  {
    title: 'markers that everybody can write',
    check: 'folders',
    verdict: 'fail',
    says: /jobs is uid 0, 01777/,
    damage: mode((cluster, host) => join(folderOf(cluster, host), 'run/vmrm/jobs'), 0o1777, 0o755),
  },
  {
    title: 'a ledger folder that everybody can write',
    host: 'ctl',
    check: 'folders',
    verdict: 'fail',
    says: /controller is uid \d+, 0777/,
    damage: mode((cluster, host) => join(folderOf(cluster, host), 'var/lib/vmrm/controller'), 0o777, 0o755),
  },
  {
    title: 'configuration that everybody can write',
    check: 'configuration-files',
    verdict: 'fail',
    says: /vmrmd\.xml is uid 0, 0666/,
    damage: mode((cluster, host) => join(folderOf(cluster, host), 'etc/vmrm/vmrmd.xml'), 0o666, 0o644),
  },
  {
    title: 'a full disk',
    check: 'disk',
    verdict: 'fail',
    says: /runs has \d+ MiB free/,
    damage: shell('mount -t tmpfs -o size=10m,mode=711 tmpfs /var/lib/vmrm/runs', 'umount /var/lib/vmrm/runs'),
  },
  {
    title: 'a disk that fills up',
    check: 'disk',
    verdict: 'warn',
    says: /runs has \d+ MiB free/,
    damage: shell('mount -t tmpfs -o size=1g,mode=711 tmpfs /var/lib/vmrm/runs', 'umount /var/lib/vmrm/runs'),
  },
  {
    title: 'templates in memory',
    check: 'templates',
    verdict: 'warn',
    says: /is on tmpfs/,
    damage: shell('mount -t tmpfs -o mode=700 tmpfs /var/lib/vmrm/templates', 'umount /var/lib/vmrm/templates'),
  },
  {
    title: 'cgroups that cannot be written',
    check: 'cgroups',
    verdict: 'fail',
    says: /cannot be written/,
    damage: shell(
      'p=/sys/fs/cgroup/memory; [ -d $p ] || p=/sys/fs/cgroup; mount -o remount,bind,ro $p',
      'p=/sys/fs/cgroup/memory; [ -d $p ] || p=/sys/fs/cgroup; mount -o remount,bind,rw $p',
    ),
  },
  {
    title: 'no nft',
    check: 'network-tools',
    verdict: 'fail',
    says: /nft is missing/,
    damage: shell('mount --bind /dev/null /usr/sbin/nft', 'umount /usr/sbin/nft'),
  },
  {
    title: 'an nft that does not work',
    check: 'network-tools',
    verdict: 'fail',
    says: /nft list tables: /,
    damage: shell('mount --bind /bin/false /usr/sbin/nft', 'umount /usr/sbin/nft'),
  },
  {
    title: 'no tap devices',
    check: 'network-devices',
    verdict: 'fail',
    says: /tun is missing/,
    damage: shell('mount -t tmpfs tmpfs /dev/net', 'umount /dev/net'),
  },
  {
    title: 'no services namespace',
    check: 'services-namespace',
    verdict: 'fail',
    says: /is no network namespace/,
    damage: shell(
      'umount -l /run/netns/vmrm',
      'mount --bind /proc/$(cat /run/ganesha/ganesha.pid)/ns/net /run/netns/vmrm',
    ),
  },
  {
    title: 'an NFS server outside its namespace',
    check: 'nfs-server',
    verdict: 'fail',
    says: /another namespace/,
    damage: shell(
      'umount -l /run/netns/vmrm',
      'mount --bind /proc/$(cat /run/ganesha/ganesha.pid)/ns/net /run/netns/vmrm',
    ),
  },
  {
    title: 'no NFS server',
    check: 'nfs-server',
    verdict: 'fail',
    says: /no running nfs-ganesha/,
    damage: stopped('ganesha'),
  },
  {
    title: 'an NFS server that reads no exports',
    check: 'nfs-server',
    verdict: 'fail',
    says: /does not read \/var\/lib\/vmrm\/exports/,
    damage: (cluster, host) =>
      edit(join(folderOf(cluster, host), 'etc/vmrm/ganesha.conf'), (text) => text.replace(/^%dir.*$/m, '')),
  },
  {
    title: 'an NFS server on another port',
    check: 'nfs-server',
    verdict: 'fail',
    says: /does not listen on port 2050/,
    damage: configuration((text) => text.replace('<nfs ', '<nfs port="2050" ')),
  },
]

const seenMs = 20_000

// Some sixty reports of the doctor, half of them about daemons that were stopped and started.
t.setTimeout(900_000)

t.test(
  'every check is fine before, fails when what it checks is broken, and is fine again afterwards',
  { timeout: 900_000 },
  async (t) => {
    await withCluster(t, async (cluster) => {
      for (const host of ['ctl', 'n1']) {
        const { exitCode, findings } = await examine(cluster, host)
        t.same(
          findings.filter(({ verdict }) => verdict !== 'ok'),
          [],
          `${host} has no problem`,
        )
        t.equal(exitCode, 0)
      }
      for (const { title, host = 'n1', check, verdict, says, damage } of cases) {
        await t.test(title, { timeout: 90_000 }, async (t) => {
          const mend = await damage(cluster, host)
          try {
            let found: Finding | undefined
            let exitCode: number | null = null
            // A daemon may need a moment to see what it lost.
            await waitFor(
              async () => {
                const report = await examine(cluster, host)
                exitCode = report.exitCode
                found = report.findings.find(
                  (one) => one.check === check && one.verdict === verdict && says.test(one.text),
                )
                return found !== undefined
              },
              { timeoutMs: seenMs },
            )
            t.ok(found, `${check} says ${verdict} ${says}`)
            t.ok(found?.meaning && found.mend, 'with what it means and what mends it')
            if (verdict === 'fail') t.equal(exitCode, 1)
          } finally {
            await mend()
          }
        })
      }
      await cluster.waitUntilIdle()
      for (const host of ['ctl', 'n1']) {
        const { findings } = await examine(cluster, host)
        t.same(
          findings.filter(({ verdict }) => verdict !== 'ok'),
          [],
          `${host} is mended`,
        )
      }
    })
  },
)

t.test('no check of the doctor is left out of the cases above', async (t) => {
  const { checks } = await import('../../lib/command/doctor.ts')
  const broken = new Set(cases.map(({ check }) => check))
  t.same(
    checks.map(({ name }) => name).filter((name) => !broken.has(name)),
    [],
  )
})
