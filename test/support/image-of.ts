// An image as the catalogue has it, where a test needs one and no file of it.
import { type Image, imageSchema } from '../../lib/config/image-schema.ts'

/** `changes` are in the words of a catalogue entry. */
export function imageOf(name: string, changes: object = {}): Image {
  return imageSchema.parse({
    ...{ version: '1', name, revision: '7' },
    os: { family: 'linux', agent: 'builtin' },
    master: { path: '/m', format: 'raw' },
    boot: { kind: 'firmware' },
    hostnames: { range: 'vm-[1-4]' },
    network: { kind: 'private', addresses: '10.77.0.0/24' },
    access: { policy: 'all' },
    limits: { maxMemoryMib: 2000, maxCpus: 8 },
    ...changes,
  })
}
