// The seed: the NoCloud image that brings the agent to stock masters (lib/guest/seed makes it). It is only looked at here.
import { open } from 'node:fs/promises'
import { VmrmError } from '../errors/vmrm-error.ts'

/** ISO 9660: the primary volume descriptor, its identifier, and the volume's name in it. */
const descriptorAt = 16 * 2048
const descriptorBytes = 72
const nameAt = 40
const label = 'cidata'

/** Fails with `config-invalid` for what cannot be read or is no NoCloud image: its VMs would wait for an agent in vain. */
export async function checkSeed(path: string): Promise<void> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new VmrmError('config-invalid', `The seed ${path} (paths/@seed) cannot be used: ${why}.`, {
      cause,
      hint: 'Install vmrm again on this node: the seed is a part of it.',
    })
  }
  const file = await open(path, 'r').catch((cause: Error) => refuse(cause.message, cause))
  try {
    const bytes = Buffer.alloc(descriptorBytes)
    await file.read(bytes, 0, bytes.length, descriptorAt)
    const isIso = bytes.toString('latin1', 1, 6) === 'CD001'
    if (!isIso || bytes.toString('latin1', nameAt, descriptorBytes).trimEnd() !== label)
      refuse(`it is no ISO 9660 image with the label ${label}`)
  } finally {
    await file.close()
  }
}
