// The cgroup of each run on this node: the job's memory, CPUs and a bound on processes, whatever its guests do.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import { type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import { createRunCgroup, listRunCgroups, openRunCgroup } from '../../../vm/cgroup.ts'
import type { MachineCpus } from '../machine-cpus.ts'
import type { Usage } from '../ports.ts'

export interface RunCgroups {
  /** `own`: the groups are made here. `libvirt`: libvirt makes them, and nothing is done here. */
  readonly kind: 'own' | 'libvirt'
  create(run: Run, share: Share): Promise<void>
  /** Moves a QEMU with all its threads into the run's group. */
  add(run: Run, pid: number): Promise<void>
  /** Undefined where there is no group. */
  usage(run: Run): Promise<Usage | undefined>
  /** Kills what is in the group and removes it. */
  remove(run: Run): Promise<void>
  /** Names of runs that have a group. */
  list(): Promise<readonly string[]>
}

/** QEMU has a thread a vCPU, one an I/O worker (at most 64), and a few more. */
export const pidsPerVm = 256
export const removeMs = 30_000

export function createRunCgroups(options: { config: DaemonConfig; machineCpus: MachineCpus; log: Log }): RunCgroups {
  const { config, machineCpus, log } = options
  if (config.hypervisor.cgroups === 'libvirt') return libvirtsOwn
  const parent = config.hypervisor.cgroupParent
  const groupOf = (run: Run) => openRunCgroup({ parent, run: runId(run) })
  return {
    kind: 'own',
    async create(run, share) {
      const cpus = machineCpus(share)
      const { skipped } = await createRunCgroup({
        parent,
        run: runId(run),
        limits: {
          memoryMib: share.memoryMib,
          pidsMax: pidsPerVm * share.vms.length,
          ...(cpus === undefined ? {} : { cpus }),
        },
      })
      for (const limit of skipped) log.warn('cgroup.limit-skipped', { run: runId(run), limit })
    },
    async add(run, pid) {
      await (await groupOf(run)).add(pid)
    },
    async usage(run) {
      const { peakMemoryBytes, cpuTimeNs } = await (await groupOf(run)).usage()
      if (peakMemoryBytes === undefined && cpuTimeNs === undefined) return undefined
      return { peakMemoryBytes: peakMemoryBytes ?? 0, cpuTimeNs: cpuTimeNs ?? 0 }
    },
    async remove(run) {
      await (await groupOf(run)).killAndRemove({ timeoutMs: removeMs })
    },
    list: () => listRunCgroups({ parent }),
  }
}

const libvirtsOwn: RunCgroups = {
  kind: 'libvirt',
  create: async () => {},
  add: async () => {},
  usage: async () => undefined,
  remove: async () => {},
  list: async () => [],
}
