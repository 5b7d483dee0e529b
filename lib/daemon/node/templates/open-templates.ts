// The templates of a node, put together from their parts.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import type { Log } from '../../../log.ts'
import { addTemplateTap, listTemplateTaps, removeTemplateTap } from '../../../network/template-tap.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import { allOrFirstError } from '../../all-or-first-error.ts'
import type { Semaphore } from '../../semaphore.ts'
import { TemplateStore } from './store.ts'
import { createTemplateVm } from './template-vm.ts'
import { Templates } from './templates.ts'

const sweepMs = 30_000

/** Returns when the store is known; what a crash has left of VMs goes with the first sweep. */
export async function openTemplates(options: {
  config: DaemonConfig
  hypervisor: Hypervisor
  admission: Semaphore
  accelerator: 'kvm' | 'qemu'
  qemuGid: number
  images: () => ReadonlyMap<string, Image>
  usedUids: () => Iterable<number>
  log: Log
}): Promise<Templates> {
  const { config, hypervisor, admission, accelerator, qemuGid, images, usedUids, log } = options
  const now = () => Date.now()
  const store = new TemplateStore({ folder: config.paths.templates, log, now })
  await store.load()
  const taps = { add: addTemplateTap, remove: removeTemplateTap, list: listTemplateTaps }
  return new Templates({
    ...{ config, store, images, usedUids, log, now },
    vm: createTemplateVm({ config, hypervisor, taps, admission, log }),
    machine: { config, accelerator, qemuGid },
    hypervisorVersion: () => hypervisor.version(),
  })
}

/** For `repeatEvery`. */
export function templateSweep(templates: Templates, log: Log) {
  return {
    intervalMs: sweepMs,
    event: 'templates.failed',
    log,
    async work() {
      // There must be room also where libvirtd, without which no stray goes, is away.
      await allOrFirstError([templates.removeStrays(), templates.keepWithinRoom()])
    },
  }
}
