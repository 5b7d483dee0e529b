// The maker of a node's VMs, put together: its cgroups, networks, exports, templates and the starter of each VM.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Catalogue } from '../../../config/load.ts'
import type { Log } from '../../../log.ts'
import { createGanesha } from '../../../network/nfs-export.ts'
import { listRunNetworks, setUpRunNetwork, tearDownRunNetwork } from '../../../network/run-network.ts'
import type { RelayedCommand } from '../../../slurm/relayed-commands.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import { lookUpAccount } from '../../account.ts'
import type { Semaphore } from '../../semaphore.ts'
import type { Host } from '../host.ts'
import type { VmMaker } from '../ports.ts'
import type { RequiredParts } from '../required-parts.ts'
import type { Journal } from '../runs/journal.ts'
import { createCloneSources } from '../templates/clone-sources.ts'
import type { Templates } from '../templates/templates.ts'
import { networkOf } from './network-of.ts'
import { createRunCgroups } from './run-cgroups.ts'
import { createVmMaker, type RunNetworks } from './vm-maker.ts'
import { createVmStarter } from './vm-starter.ts'

export function openVmMaker(options: {
  config: DaemonConfig
  host: Host
  hypervisor: Hypervisor
  journal: Journal
  catalogue: Catalogue
  commands: ReadonlyMap<string, RelayedCommand>
  admission: Semaphore
  templates: Templates
  parts: RequiredParts
  log: Log
}): VmMaker {
  const { config, host, hypervisor, journal, catalogue, commands, admission, templates, parts, log } = options
  const { node, machineCpus, qemuGid, accelerator } = host
  const cgroups = createRunCgroups({ config, machineCpus, log })
  const cloneSources = createCloneSources({ templates, journal, machineCpus, qemuGid, log })
  const starter = createVmStarter({
    ...{ config, journal, hypervisor, cgroups, admission, node, accelerator, qemuGid, log },
    commands: [...commands.values()].map(({ path }) => path),
  })
  const { server, exportsFolder, pidFile } = config.nfs
  const exports = server === 'ganesha' ? createGanesha({ exportsFolder, pidFile }) : undefined
  return createVmMaker({
    ...{ catalogue, hypervisor, cgroups, exports, starter, cloneSources, lookUpAccount, log },
    networks: networksOf(config, host.address, log),
    requireParts: () => parts.require(),
  })
}

function networksOf(config: DaemonConfig, underlay: string, log: Log): RunNetworks {
  const { servicesNamespace } = config.network
  return {
    plan: (entry, share, image) => networkOf({ entry, share, image, config, underlay }),
    setUp: (plan, signal) => setUpRunNetwork(plan, { log, signal }),
    tearDown: (vni) => tearDownRunNetwork({ vni, servicesNamespace }, { log }),
    list: () => listRunNetworks({ log }),
  }
}
