// Whether VMs run under KVM or TCG. It finds out by running a guest, since /dev/kvm can be there and be of no use.
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Log } from '../log.ts'

export interface AcceleratorOptions {
  readonly wanted: 'auto' | 'kvm' | 'qemu'
  readonly log: Log
  /** Whom the QEMUs will run as: a /dev/kvm that is closed to them is of no use either. Default: the caller. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** Default /usr/bin/qemu-system-x86_64. */
  readonly emulator?: string
  readonly signal?: AbortSignal
}

/** A tenth of a second is usual; a KVM that is slower than this is worse than TCG. */
const probeTimeoutMs = 5_000
/** mov dx,0xf4; mov al,42; out dx,al; hlt: writes to isa-debug-exit, which ends QEMU with (42 << 1) | 1. */
const guestCode = [0xba, 0xf4, 0x00, 0xb0, 0x2a, 0xee, 0xf4]
const guestExitCode = 85

/**
 * `auto` boots a disk of one sector under KVM with the CPU that VMs get, and falls back to TCG with one warning; the others
 * are taken as they are. At most 5 s; keep the answer. Rejects with the signal's reason only.
 */
export async function chooseAccelerator(options: AcceleratorOptions): Promise<'kvm' | 'qemu'> {
  const { wanted, log } = options
  if (wanted !== 'auto') return wanted
  const problem = await probeAccelerator('kvm', options)
  if (problem === undefined) return 'kvm'
  log.warn('accelerator.no-kvm', { problem, effect: 'VMs run under TCG, many times slower' })
  return 'qemu'
}

/** Undefined when a guest ran, else why not, in one line. */
export async function probeAccelerator(
  accelerator: 'kvm' | 'tcg',
  options: Omit<AcceleratorOptions, 'wanted'>,
): Promise<string | undefined> {
  const { owner, emulator = '/usr/bin/qemu-system-x86_64', signal } = options
  const { execa } = await import('execa')
  const folder = await mkdtemp(join(tmpdir(), 'vmrm-accelerator-'))
  try {
    const disk = join(folder, 'disk')
    await chmod(folder, 0o755) // the owner must get in
    await writeFile(disk, renderDisk(), { mode: 0o644 })
    const result = await execa(emulator, probeArguments(accelerator, disk), {
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
      extendEnv: false,
      stdin: 'ignore',
      timeout: probeTimeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: 65_536,
      reject: false,
      ...owner,
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    })
    signal?.throwIfAborted()
    if (result.exitCode === guestExitCode) return undefined
    if (result.timedOut) return `a guest did not get going within ${probeTimeoutMs} ms`
    return (
      result.stderr.trim().split('\n').at(-1) ||
      `${emulator} ended with ${result.exitCode ?? result.signal ?? result.code}`
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function renderDisk(): Buffer {
  const disk = Buffer.alloc(1 << 20)
  Buffer.from(guestCode).copy(disk)
  disk.writeUInt16LE(0xaa55, 510)
  return disk
}

function probeArguments(accelerator: 'kvm' | 'tcg', disk: string): string[] {
  const cpu = accelerator === 'kvm' ? 'host' : 'max'
  const machine = ['-machine', 'q35', '-accel', accelerator, '-cpu', cpu, '-m', '32']
  const devices = [
    '-device',
    'isa-debug-exit,iobase=0xf4,iosize=4',
    '-drive',
    `file=${disk},format=raw,if=virtio,readonly=on`,
  ]
  return [...machine, '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', ...devices]
}
