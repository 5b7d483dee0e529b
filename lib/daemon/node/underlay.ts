// The address other nodes reach this one by.
import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { VmrmError } from '../../errors/vmrm-error.ts'

/** The first IPv4 address of `device`; without a device that of the node's name. Throws `config-invalid` if there is none. */
export async function underlayAddress(node: string, device: string | undefined): Promise<string> {
  if (device !== undefined) {
    const found = networkInterfaces()[device]?.find((each) => each.family === 'IPv4')
    if (found === undefined) {
      throw new VmrmError('config-invalid', `node/@underlay-device: ${device} has no IPv4 address on node ${node}`)
    }
    return found.address
  }
  try {
    return (await lookup(node, 4)).address
  } catch (cause) {
    throw new VmrmError('config-invalid', `the address of node ${node} is not known: ${(cause as Error).message}`, {
      cause,
    })
  }
}
