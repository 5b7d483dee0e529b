// A cluster whose nodes keep templates, and templates made ahead. The test cluster's own configuration keeps none.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { defaultConfigPath } from '../../lib/config/load.ts'
import type { Cluster } from '../support/cluster.ts'

const none = /<templates max-mib="0"\/>/
const warmMs = 300_000

/** The nodes' vmrmd start anew with the default. */
export async function keepTemplates(cluster: Cluster): Promise<void> {
  for (const host of cluster.layout.hosts.filter(({ role }) => role === 'node')) {
    const path = join(host.folder, defaultConfigPath)
    const text = readFileSync(path, 'utf8')
    if (!none.test(text)) throw new Error(`${path} does not say that no templates are kept`)
    writeFileSync(path, text.replace(none, ''))
    await cluster.daemon('restart', host.name, 'vmrmd')
  }
}

/** Returns how long it took, as the administrator sees it. Throws with vmrm's words. */
export async function warm(
  cluster: Cluster,
  { image, node, memoryMib }: { readonly image: string; readonly node: string; readonly memoryMib: number },
): Promise<number> {
  const argv = ['vmrm', 'image', 'warm', image, '--cpus', '1', '--memory', String(memoryMib)]
  const beganMs = performance.now()
  const { exitCode, stdout, stderr } = await cluster.run(argv, { node, timeoutMs: warmMs })
  if (exitCode !== 0) throw new Error(`${argv.join(' ')} failed:\n${stderr}${stdout}`)
  return performance.now() - beganMs
}
