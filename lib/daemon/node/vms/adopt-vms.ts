// The VMs of a run from before this daemon's start: which of them are there is what their agents and the hypervisor say, asked at
// once, so that a libvirtd that is away holds up no run. It ends none of them.
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import type { Log } from '../../../log.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import type { AdoptedVms } from '../ports.ts'
import type { LiveRun, LiveVm } from '../runs/live-run.ts'
import type { VmStarter } from './vm-starter.ts'

export interface AdoptOptions {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'expect'>
  readonly starter: Pick<VmStarter, 'reconnect'>
  readonly log: Log
}

export async function adoptVms(
  run: LiveRun,
  share: Share,
  { hypervisor, starter, log, signal }: AdoptOptions & { signal: AbortSignal },
): Promise<AdoptedVms> {
  const listed = namesThere(hypervisor, log, signal)
  const missing = new Set(run.entry.missing?.map(({ vm }) => vm))
  const made = share.vms.filter(({ name }) => !missing.has(name))
  const outcomes = await Promise.allSettled(
    made.map(async (vm) => {
      const live = await reconnect(run, vm, { starter, listed, signal })
      // Who answers a moment before its end is told of all the same, once libvirtd is there.
      hypervisor.expect(vm.name)
      return live
    }),
  )
  const there: LiveVm[] = []
  const gone: { vm: string; error: VmrmError }[] = []
  for (const [at, outcome] of outcomes.entries()) {
    if (outcome.status === 'fulfilled') there.push(outcome.value)
    else gone.push({ vm: made[at]?.name ?? '', error: toVmrmError(outcome.reason) })
  }
  return { there, gone }
}

/** Its agent is not waited for where the hypervisor has no such VM. */
async function reconnect(
  run: LiveRun,
  vm: Share['vms'][number],
  options: Pick<AdoptOptions, 'starter'> & { listed: Promise<ReadonlySet<string> | undefined>; signal: AbortSignal },
): Promise<LiveVm> {
  const ended = new AbortController()
  void options.listed.then((names) => {
    if (names !== undefined && !names.has(vm.name))
      ended.abort(new VmrmError('vm-lost', `VM ${vm.name} ended while vmrmd was down`))
  })
  return options.starter.reconnect(run.entry, vm, AbortSignal.any([options.signal, ended.signal]))
}

/** Undefined when libvirtd does not tell: VMs live on without it. Never rejects. */
async function namesThere(
  hypervisor: Pick<Hypervisor, 'list'>,
  log: Log,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  try {
    return new Set((await hypervisor.list({ signal })).map(({ name }) => name))
  } catch (error) {
    log.warn('hypervisor.not-asked', { text: toVmrmError(error).message })
    return undefined
  }
}
