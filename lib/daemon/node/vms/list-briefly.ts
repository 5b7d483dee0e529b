// The VMs of a node for those who remove some: where the end of a cgroup is the end of its QEMUs, a removal need not wait for a
// libvirtd that is away.
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import type { Hypervisor, VmOnNode } from '../../../vm/hypervisor.ts'
import type { RunCgroups } from './run-cgroups.ts'

/** A libvirtd that is being restarted may be back; one that answers is waited for as long as it takes. */
const awayMs = 1000

/** Throws `libvirt-unreachable` where libvirt makes the groups, and nothing else can end a QEMU. */
export async function listBriefly(
  hypervisor: Pick<Hypervisor, 'list' | 'reachability'>,
  cgroups: Pick<RunCgroups, 'kind'>,
): Promise<readonly VmOnNode[] | 'unreachable'> {
  if (cgroups.kind !== 'own') return hypervisor.list()
  const away = new AbortController()
  const giveUp = () => {
    if (hypervisor.reachability === 'unreachable')
      away.abort(new VmrmError('libvirt-unreachable', 'libvirt on this node cannot be reached'))
  }
  const timer = setTimeout(giveUp, awayMs)
  try {
    return await hypervisor.list({ signal: away.signal })
  } catch (error) {
    if (toVmrmError(error).code === 'libvirt-unreachable') return 'unreachable'
    throw error
  } finally {
    clearTimeout(timer)
  }
}
