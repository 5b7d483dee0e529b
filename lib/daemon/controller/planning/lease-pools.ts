// What the VMs of an image are leased from. Pure.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { addressPool, hostnameRange, macRange, vniRange } from '../../../network/address.ts'
import { type Leases, type Pool, RangeFull } from '../ledger/leases.ts'

export interface LeasePools {
  /** One a run; the others one a VM. */
  readonly vni: Pool
  readonly hostname: Pool
  readonly address: Pool
  readonly mac: Pool
}

/** Throws `config-invalid` for ranges that cannot be leased from. */
export function leasePools(image: Image, config: DaemonConfig): LeasePools {
  const { firstVni, vniCount, macPrefix } = config.network
  const { range } = image.hostnames
  const addresses = addressPool(image.network)
  const title = (text: string) => `image ${image.name}: ${text}`
  return {
    vni: { ...vniRange(firstVni, vniCount), title: title('network numbers (VNI)') },
    hostname: { ...hostnameRange(range), title: title(`hostnames ${range}`) },
    address: { ...addresses, title: title(`addresses ${addresses.title}`) },
    mac: { ...macRange(macPrefix), title: title('MAC addresses') },
  }
}

/** Throws RangeFull for more VMs than a whole range has members: they never all get one. */
export function requireRoom({ hostname, address, mac }: LeasePools, vms: number): void {
  for (const { title, size } of [hostname, address, mac])
    if (vms > size) throw new RangeFull(`${title}: ${vms} wanted, there are ${size} in all`, 'never')
}

/** Whether that many VMs, and the networks of that many runs, could be leased now. */
export function hasRoom(
  leases: Pick<Leases, 'hasFree'>,
  pools: LeasePools,
  wanted: { vms: number; runs: number },
): boolean {
  const { vni, hostname, address, mac } = pools
  return leases.hasFree(vni, wanted.runs) && [hostname, address, mac].every((pool) => leases.hasFree(pool, wanted.vms))
}
