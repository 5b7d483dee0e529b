// How long a VM may take to come up, and that it has not ended meanwhile. It starts and ends nothing.
import { setTimeout as delay } from 'node:timers/promises'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { type Hypervisor, stopReasonTexts } from '../../../vm/hypervisor.ts'

/** libvirtd tells of a VM's end within this. */
export const stopEventMs = 2000

/**
 * `work` gets a signal that aborts with `late` when `seconds` have passed since it called `begin`, with `vm-start-failed` when the VM ends, and with the reason
 * of `signal`. Rejects with what came first; a port that was closed is only how the end of QEMU looks from here, so then
 * libvirt is given a moment to say what ended it.
 */
export async function withinStart<T>(
  options: {
    hypervisor: Hypervisor
    name: string
    /** In sentences, such as `VM j1r0v0 on node n1`. */
    place: string
    /** What it was doing, such as `booted`. */
    doing: string
    seconds: number
    late: VmrmError
    signal: AbortSignal
  },
  work: (signal: AbortSignal, begin: () => void) => Promise<T>,
): Promise<T> {
  const { hypervisor, name, place, doing, seconds, late, signal } = options
  const bound = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const begin = () => {
    timer = setTimeout(() => bound.abort(late), seconds * 1000)
  }
  const stopped = hypervisor.onStopped((vm) => {
    if (vm.name !== name) return
    const text = `${place} ended while it ${doing}: ${stopReasonTexts[vm.reason]}`
    bound.abort(new VmrmError('vm-start-failed', text))
  })
  const both = AbortSignal.any([signal, bound.signal])
  try {
    return await work(both, begin)
  } catch (error) {
    if (error instanceof VmrmError && error.code === 'vm-lost')
      await delay(stopEventMs, undefined, { signal: both }).catch(() => {}) // the abort is looked at below
    throw bound.signal.aborted && !signal.aborted ? bound.signal.reason : error
  } finally {
    clearTimeout(timer)
    stopped()
  }
}
