// The end of a VM whose name is to be used again: it is over only when the hypervisor has told of it, or the news of the old
// one would be taken for the new one's.
import { setTimeout as delay } from 'node:timers/promises'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import { stopEventMs } from './start-bound.ts'

/** Listens from now on, so that an end by itself is not missed. */
export function endedFor(hypervisor: Hypervisor, name: string): { destroy(): Promise<void>; close(): void } {
  const told = Promise.withResolvers<void>()
  const close = hypervisor.onStopped((vm) => {
    if (vm.name === name) told.resolve()
  })
  return {
    close,
    async destroy() {
      await hypervisor.destroy(name)
      await Promise.race([told.promise, delay(stopEventMs, undefined, { ref: false })])
    },
  }
}
