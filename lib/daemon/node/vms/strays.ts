// What has our names on this node and belongs to no run that is known: found and removed. What has no name of a run's is somebody
// else's, wherever it lies.
import { parseRunId, type Run } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { ExportServer } from '../../../network/nfs-export.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import { allOrFirstError } from '../../all-or-first-error.ts'
import type { KnownRuns } from '../ports.ts'
import { listBriefly } from './list-briefly.ts'
import type { RunCgroups } from './run-cgroups.ts'
import { runOfVm } from './run-of-vm.ts'
import type { RunNetworks } from './vm-maker.ts'

export interface StraysOptions {
  readonly hypervisor: Hypervisor
  readonly cgroups: Pick<RunCgroups, 'kind' | 'list' | 'remove'>
  readonly exports: Pick<ExportServer, 'list' | 'remove'> | undefined
  readonly networks: Pick<RunNetworks, 'list' | 'tearDown'>
  readonly log: Log
}

/** Of each kind all that can be removed is; then it throws what first could not. */
export async function removeStrays(known: KnownRuns, options: StraysOptions): Promise<void> {
  const { exports, networks, log } = options
  const strayOf = (name: string | undefined) =>
    name === undefined || known.hasRun(name) ? undefined : parseRunId(name)
  const removeAll = <T>(found: readonly T[], isStray: (each: T) => boolean, remove: (each: T) => Promise<unknown>) =>
    allOrFirstError(found.filter(isStray).map(remove))
  const isStray = (name: string) => strayOf(name) !== undefined

  const removeExports = async () =>
    removeAll((await exports?.list()) ?? [], isStray, async (run) => {
      log.warn('stray.export', { run })
      await exports?.remove(run)
    })
  const removeNetworks = async () =>
    removeAll(
      await networks.list(),
      (vni) => !known.hasNetwork(vni),
      async (vni) => {
        log.warn('stray.network', { vni })
        await networks.tearDown(vni)
      },
    )
  await allOrFirstError<unknown>([removeVms(strayOf, options), removeExports(), removeNetworks()])
}

/** A VM first, then its group, whose end it does not outlive. */
async function removeVms(
  strayOf: (name: string | undefined) => Run | undefined,
  options: StraysOptions,
): Promise<void> {
  const { hypervisor, cgroups, log } = options
  const destroyed = async () => {
    const listed = await listBriefly(hypervisor, cgroups)
    const vms = listed === 'unreachable' ? [] : listed.filter(({ name }) => strayOf(runOfVm(name)) !== undefined)
    await allOrFirstError(
      vms.map(async ({ name }) => {
        log.warn('stray.vm', { vm: name })
        await hypervisor.destroy(name)
      }),
    )
  }
  const removed = async () => {
    await allOrFirstError(
      (await cgroups.list()).map(async (name) => {
        const run = strayOf(name)
        if (run === undefined) return
        log.warn('stray.cgroup', { run: name })
        await cgroups.remove(run)
      }),
    )
  }
  const problem = await destroyed().catch((error: unknown) => ({ error }))
  await removed()
  if (problem !== undefined) throw problem.error
}
