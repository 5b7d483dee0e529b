// libvirtd, the accelerator, and the users that QEMU runs as.
import { readFile, stat } from 'node:fs/promises'
import { lookUpGroup } from '../../daemon/account.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { connectLibvirt } from '../../libvirt/index.ts'
import { silentLog } from '../../log.ts'
import { probeAccelerator } from '../../vm/accelerator.ts'
import { type Check, type Finding, fail, ok, problemsOr, warn } from './check.ts'
import { complaint, runTool } from './run-tool.ts'

const connectMs = 5_000

const libvirt: Check = {
  name: 'libvirt',
  roles: ['node'],
  async run({ config }) {
    const { socket, uri } = config.hypervisor
    try {
      const signal = AbortSignal.timeout(connectMs)
      await (await connectLibvirt({ socketPath: socket, uri, log: silentLog, signal })).close()
      return [ok(`${uri} answers at ${socket}`)]
    } catch (thrown) {
      const { message, hint } = toVmrmError(thrown)
      const mend = `systemctl start libvirtd (or virtqemud, with hypervisor/@socket in vmrmd.xml). ${hint}`
      return [fail(message, 'No VM can start on this node; a VM job that comes here drains it.', mend.trim())]
    }
  },
}

const writableByOthers = 0o002

/** Through libvirt's read-only socket polkit lets everyone see everything by default; vmrmd does not use it. */
const libvirtReadOnly: Check = {
  name: 'libvirt-read-only',
  roles: ['node'],
  async run({ config }) {
    const path = `${config.hypervisor.socket}-ro`
    const found = await stat(path).catch(() => undefined)
    if (found === undefined || (found.mode & writableByOthers) === 0)
      return [ok("libvirt's read-only socket is closed")]
    const unit = path.includes('virtqemud') ? 'virtqemud-ro.socket' : 'libvirtd-ro.socket'
    return [
      warn(
        `everyone may connect to ${path}`,
        'Users can see the names, owners, images and MAC addresses of the VMs of others (virsh -r list).',
        `systemctl mask --now ${unit}; where systemd does not make it, unix_sock_ro_perms = "0700" in libvirtd.conf`,
      ),
    ]
  },
}

/** libvirtd's defaults; vmrmd keeps at most four calls with it at a time for that reason. */
const limits = { max_client_requests: 5, max_workers: 20 } as const

const libvirtLimits: Check = {
  name: 'libvirt-limits',
  roles: ['node'],
  async run({ config }) {
    const file = config.hypervisor.socket.includes('virtqemud')
      ? '/etc/libvirt/virtqemud.conf'
      : '/etc/libvirt/libvirtd.conf'
    const text = await readFile(file, 'utf8').catch(() => '')
    const problems: Finding[] = []
    for (const [key, least] of Object.entries(limits)) {
      const set = new RegExp(`^\\s*${key}\\s*=\\s*(\\d+)`, 'm').exec(text)?.[1]
      if (set === undefined || Number(set) >= least) continue
      problems.push(
        warn(
          `${file}: ${key} = ${set}`,
          'One VM that hangs in libvirtd can hold up all others of the node.',
          `In ${file}: ${key} = ${least} or more, then systemctl restart libvirtd (VMs go on)`,
        ),
      )
    }
    return problemsOr(`${Object.keys(limits).join(' and ')} are large enough`, problems)
  },
}

const accelerator: Check = {
  name: 'accelerator',
  roles: ['node'],
  async run({ config }) {
    const { accelerator: wanted, firstUid, group } = config.hypervisor
    if (wanted === 'qemu') {
      const problem = await probeAccelerator('tcg', { log: silentLog })
      if (problem === undefined) return [ok('vmrmd.xml chooses TCG, and QEMU runs')]
      return [fail(`QEMU does not run: ${problem}`, 'No VM can start on this node.', 'Install qemu-system-x86.')]
    }
    const gid = await lookUpGroup(group).catch(() => undefined)
    const isRoot = process.getuid?.() === 0
    const owner = isRoot && gid !== undefined ? { owner: { uid: firstUid, gid } } : {}
    const problem = await probeAccelerator('kvm', { log: silentLog, ...owner })
    if (problem === undefined) return [ok('KVM runs a guest')]
    const mend = `Load kvm_intel or kvm_amd, switch virtualisation on in the firmware, and let group ${group} open /dev/kvm; or hypervisor/@accelerator="qemu" in vmrmd.xml.`
    if (wanted === 'kvm') return [fail(`KVM does not work: ${problem}`, 'No VM can start on this node.', mend)]
    return [warn(`KVM does not work: ${problem}`, 'VMs run under TCG, many times slower.', mend)]
  },
}

interface Range {
  readonly what: string
  readonly first: number
  readonly last: number
}

/** Accounts and subordinate ranges that touch the range of QEMU's users. */
export function takenRanges(options: { passwd: string; subuid: string; first: number; last: number }): Range[] {
  const accounts = options.passwd.split('\n').map((line) => {
    const [name, , uid = ''] = line.split(':')
    return { what: `account ${name}`, first: Number(uid || Number.NaN), last: Number(uid || Number.NaN) }
  })
  const subordinate = options.subuid.split('\n').map((line) => {
    const [name, start = '', count = ''] = line.split(':')
    const first = Number(start || Number.NaN)
    return { what: `/etc/subuid of ${name}`, first, last: first + Number(count || Number.NaN) - 1 }
  })
  return [...accounts, ...subordinate].filter(({ first, last }) => first <= options.last && last >= options.first)
}

const qemuUsers: Check = {
  name: 'qemu-users',
  roles: ['node'],
  async run({ config }) {
    const { firstUid: first, uidCount, group } = config.hypervisor
    const last = first + uidCount - 1
    const problems: Finding[] = []
    const known = await runTool('/usr/bin/getent', ['passwd'])
    if (known.exitCode !== 0)
      problems.push(
        warn(`getent passwd: ${complaint(known)}`, 'The accounts were not checked.', 'See nsswitch.conf(5).'),
      )
    const subuid = await readFile('/etc/subuid', 'utf8').catch(() => '')
    for (const { what } of takenRanges({ passwd: known.stdout, subuid, first, last })) {
      problems.push(
        fail(
          `${what} is within uids ${first} to ${last}, which vmrm gives to QEMU`,
          'That user could read and stop the VMs of others, and they its files.',
          'In vmrmd.xml: hypervisor/@first-uid and @uid-count with a range that nobody has.',
        ),
      )
    }
    const gid = await lookUpGroup(group).catch(() => undefined)
    if (gid === undefined)
      problems.push(
        fail(
          `there is no group ${group}`,
          'vmrmd does not start.',
          `groupadd --system ${group}; or hypervisor/@group in vmrmd.xml`,
        ),
      )
    return problemsOr(`uids ${first} to ${last} are nobody's; group ${group} is ${gid}`, problems)
  },
}

export const hypervisorChecks: readonly Check[] = [libvirt, libvirtReadOnly, libvirtLimits, accelerator, qemuUsers]
