// Which daemons each host has, in the order of their start.
import { mariadbdSpec, slurmdbdSpec } from './accounting.ts'
import type { DaemonName, DaemonSpec, LiveHost } from './daemons.ts'
import type { ClusterSettings, Host } from './layout.ts'
import { libvirtdSpec } from './libvirt.ts'
import { mungedSpec } from './munge.ts'
import { ganeshaSpec } from './nfs.ts'
import { slurmctldSpec, slurmdSpec } from './slurm.ts'
import { vmrmdSpec } from './vmrm.ts'

/** `controller` is asked whether a slurmd has registered. */
export function daemonsOf(host: Host, settings: ClusterSettings, controller: LiveHost): DaemonSpec[] {
  const vmrm = settings.vmrm === 'with-vmrm' ? [vmrmdSpec(host)] : []
  const accounting = settings.accounting === 'with-accounting' ? [mariadbdSpec, slurmdbdSpec] : []
  if (host.role === 'controller') return [mungedSpec(host), ...accounting, ...vmrm, slurmctldSpec(settings)]
  return [mungedSpec(host), libvirtdSpec, ganeshaSpec, ...vmrm, slurmdSpec(controller)]
}

/** Names alone, for those who only look. */
export function daemonNamesOf(host: Host, settings: ClusterSettings): DaemonName[] {
  const vmrm: DaemonName[] = settings.vmrm === 'with-vmrm' ? ['vmrmd'] : []
  const accounting: DaemonName[] = settings.accounting === 'with-accounting' ? ['mariadbd', 'slurmdbd'] : []
  if (host.role === 'controller') return ['munged', ...accounting, ...vmrm, 'slurmctld']
  return ['munged', 'libvirtd', 'ganesha', ...vmrm, 'slurmd']
}
