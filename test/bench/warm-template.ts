// Templates made ahead, as an administrator does it. It owns nothing: they go with the cluster.
import type { Cluster } from '../support/cluster.ts'

const warmMs = 300_000

interface Wish {
  readonly image: string
  readonly node: string
  readonly memoryMib: number
}

async function must(cluster: Cluster, node: string, argv: readonly string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await cluster.run(argv, { node, timeoutMs: warmMs })
  if (exitCode !== 0) throw new Error(`${argv.join(' ')} failed:\n${stderr}${stdout}`)
}

/** For VMs with one CPU; one that is there already, from an earlier cluster, does. Throws with vmrm's words. */
export function warm(cluster: Cluster, { image, node, memoryMib }: Wish): Promise<void> {
  return must(cluster, node, ['vmrm', 'image', 'warm', image, '--cpus', '1', '--memory', String(memoryMib)])
}

/** How long a new one takes, as the administrator sees it, in ms. */
export async function warmAnew(cluster: Cluster, wish: Wish): Promise<number> {
  await must(cluster, wish.node, ['vmrm', 'image', 'forget', wish.image])
  const beganMs = performance.now()
  await warm(cluster, wish)
  return performance.now() - beganMs
}
