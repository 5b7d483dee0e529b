// Clones VMs with QEMU alone, as an experienced user would by hand: the memory in a file, shared copy on write. The baseline
// for vmrm's own clones, and the way to test the guest's side without libvirt. It owns a template's files.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import { bootByHand, type HandBootedVm, type HandBootOptions } from './qemu-by-hand.ts'
import { Qmp } from './qmp.ts'

export interface HandTemplate {
  /** What the guest's memory was when it was saved. */
  readonly ramPath: string
  /** Starts a clone that is loaded and paused; the caller stops it. */
  clone(options?: { readonly mac?: string; readonly genid?: string }): Promise<PausedClone>
  remove(): Promise<void>
}

export interface PausedClone {
  readonly vm: HandBootedVm
  resume(): Promise<void>
}

const defaultGenid = '00000000-0000-4000-8000-000000000001'

function memoryArguments(path: string, memoryMib: number, share: 'on' | 'off', genid = defaultGenid): string[] {
  const object = `memory-backend-file,id=ram,size=${memoryMib}M,mem-path=${path},share=${share}`
  return ['-object', object, '-machine', 'memory-backend=ram', '-device', `vmgenid,guid=${genid}`]
}

async function ignoreShared(qmp: Qmp): Promise<void> {
  await qmp.run('migrate-set-capabilities', { capabilities: [{ capability: 'x-ignore-shared', state: true }] })
}

async function awaitMigration(qmp: Qmp): Promise<void> {
  for (;;) {
    const { status } = (await qmp.run('query-migrate')) as { status?: string }
    if (status === 'completed') return
    if (status === 'failed') throw new Error('the migration has failed')
    await delay(2)
  }
}

/** Boots the image, lets `prepare` make the guest ready, saves it and ends it. */
export async function templateByHand(
  options: HandBootOptions,
  prepare: (vm: HandBootedVm) => Promise<void>,
): Promise<HandTemplate> {
  const { memoryMib = 128, qemuArguments = [] } = options
  const folder = await mkdtemp(join(tmpdir(), 'vmrm-template-'))
  const [ramPath, statePath, disk] = ['ram', 'state', 'disk.qcow2'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  const remove = () => rm(folder, { recursive: true, force: true })
  const booted = await bootByHand({
    ...options,
    qemuArguments: [...qemuArguments, ...memoryArguments(ramPath, memoryMib, 'on')],
  })
  try {
    await prepare(booted)
    const qmp = await Qmp.connect(booted.monitorPath)
    await qmp.run('stop')
    await ignoreShared(qmp)
    await qmp.run('migrate', { uri: `exec:cat >${statePath}` })
    await awaitMigration(qmp)
    await qmp.run('quit')
    await booted.ended
    await execa('/usr/bin/cp', ['--sparse=always', booted.overlayPath, disk])
  } catch (error) {
    await remove()
    throw error
  } finally {
    await booted.stop()
  }
  return {
    ramPath,
    remove,
    async clone({ mac, genid } = {}) {
      const vm = await bootByHand({
        ...options,
        ...(mac === undefined ? {} : { mac }),
        backing: { path: disk, format: 'qcow2' },
        qemuArguments: [
          ...qemuArguments,
          ...memoryArguments(ramPath, memoryMib, 'off', genid),
          '-incoming',
          'defer',
          '-S',
        ],
      })
      try {
        const qmp = await Qmp.connect(vm.monitorPath)
        await ignoreShared(qmp)
        await qmp.run('migrate-incoming', { uri: `exec:cat ${statePath}` })
        await awaitMigration(qmp)
        return { vm, resume: async () => void (await qmp.run('cont')) }
      } catch (error) {
        await vm.stop()
        throw error
      }
    },
  }
}
