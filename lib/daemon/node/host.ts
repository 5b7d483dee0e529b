// What a node's daemon must know of its machine before it does anything, and the network that all runs on it share. It owns
// nothing of any run.
import { hostname } from 'node:os'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Log } from '../../log.ts'
import { setUpNodeNetwork } from '../../network/node-network.ts'
import { loadPeerCredentials } from '../../protocol/peer-credentials.ts'
import { chooseAccelerator } from '../../vm/accelerator.ts'
import { lookUpGroup, lookUpUid } from '../account.ts'
import { loadMachineCpus, type MachineCpus } from './machine-cpus.ts'
import { underlayAddress } from './underlay.ts'

export interface Host {
  /** The node's name, as Slurm has it. */
  readonly node: string
  /** Where other nodes reach this one. */
  readonly address: string
  readonly ownUid: number
  readonly slurmUid: number
  /** The group that QEMU runs as. */
  readonly qemuGid: number
  readonly accelerator: 'kvm' | 'qemu'
  readonly machineCpus: MachineCpus
  readonly peerCredentials: Awaited<ReturnType<typeof loadPeerCredentials>>
}

/** Throws `config-invalid` and the like where the machine is not what the configuration says. */
export async function openHost(options: { config: DaemonConfig; log: Log; signal: AbortSignal }): Promise<Host> {
  const { config, log, signal } = options
  const node = config.node.name ?? hostname().split('.')[0] ?? ''
  const { vxlanPort, underlay, servicesNamespace } = config.network
  // Side by side: jobs wait for a daemon that comes back.
  const [slurmUid, address, machineCpus, peerCredentials, accelerator, qemuGid] = await Promise.all([
    lookUpUid(config.controller.user),
    underlayAddress(node, config.node.underlayDevice),
    loadMachineCpus(),
    loadPeerCredentials(),
    chooseAccelerator({ wanted: config.hypervisor.accelerator, log }),
    lookUpGroup(config.hypervisor.group),
    setUpNodeNetwork({ servicesNamespace, vxlanPort, peers: [underlay] }, { log, signal }),
  ])
  const ownUid = process.getuid?.() ?? 0
  return { node, address, ownUid, slurmUid, qemuGid, accelerator, machineCpus, peerCredentials }
}
