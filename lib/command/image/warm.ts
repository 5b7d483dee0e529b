// `vmrm image warm`: templates made ahead, so that the first job of a size need not wait for a boot.
import { loadDaemonConfig } from '../../config/load.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { readOptions, UsageError } from '../command.ts'
import { uidOf } from '../uid-of.ts'
import { onNodes, sizeText } from './on-nodes.ts'
import { entryOf } from './show.ts'

const usage = 'vmrm image warm NAME [--node NODES]… [--cpus N --memory MIB] [--user USER]'

interface Size {
  readonly vcpus: number
  readonly memoryMib: number
}

export async function warmImage(args: readonly string[]): Promise<number> {
  const { values, positionals } = readOptions(usage, args, {
    node: { type: 'string', multiple: true },
    cpus: { type: 'string' },
    memory: { type: 'string' },
    user: { type: 'string' },
  })
  const [image] = positionals
  if (image === undefined || positionals.length > 1) throw new UsageError('one name is needed', usage)
  const size = readSize(values.cpus, values.memory)
  const uid = values.user === undefined ? undefined : await uidOf(values.user)
  return onNodes(loadDaemonConfig(), values.node ?? [], async (client, node) => {
    const sizes = size === undefined ? await sizesUsed(client, image) : [size]
    for (const each of sizes) await warm(client, node, { image, ...each, ...(uid === undefined ? {} : { uid }) })
  })
}

function readSize(cpus: string | undefined, memory: string | undefined): Size | undefined {
  if (cpus === undefined && memory === undefined) return undefined
  if (memory === undefined) throw new UsageError('--cpus needs --memory', usage)
  const [vcpus, memoryMib] = [cpus ?? '1', memory].map((text) => (/^[1-9]\d{0,8}$/.test(text) ? Number(text) : NaN))
  if (!vcpus || !memoryMib) throw new UsageError('--cpus and --memory are numbers', usage)
  return { vcpus, memoryMib }
}

/** Those that the node has a template of, stale or not: what jobs there have asked for. */
async function sizesUsed(client: ProtocolClient, image: string): Promise<readonly Size[]> {
  const { templates } = await client.call('list-templates', {})
  const mine = templates.filter((template) => template.image === image)
  if (mine.length === 0) {
    await entryOf(image)
    throw new VmrmError(
      'request-invalid',
      `the node has no template of image ${image} yet, so its size must be given`,
      {
        hint: "Give --cpus and --memory: a VM has the job's memory on the node, shared by its VMs there, less hypervisor/@overhead-mib.",
      },
    )
  }
  return [...new Map(mine.map((template) => [sizeText(template), template])).values()]
}

async function warm(
  client: ProtocolClient,
  node: string,
  wish: Size & { readonly image: string; readonly uid?: number },
): Promise<void> {
  const beganMs = performance.now()
  const seconds = () => `${Math.round((performance.now() - beganMs) / 1000)} s`
  const say = (text: string) => process.stdout.write(`${node}: ${wish.image}, ${sizeText(wish)}: ${text}\n`)
  const { image, vcpus, memoryMib, uid } = wish
  for (;;) {
    const request = { image, vcpus, memoryMib, ...(uid === undefined ? {} : { uid }) }
    const { outcome } = await client.call('warm-template', request)
    if (outcome === 'pending') say(`being made since ${seconds()}`)
    else return void say(outcome === 'found' ? 'is there already' : `made in ${seconds()}`)
  }
}
