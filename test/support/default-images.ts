// Default images in the test cluster: vmrmd.xml of the controller, and what `vmrm job-submit-table` makes of it.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hostNamed } from '../cluster/layout.ts'
import type { Cluster } from './cluster.ts'

const write = async (cluster: Cluster): Promise<string> => {
  const argv = ['vmrm', 'job-submit-table', '--output', '/etc/vmrm/job_submit_table.lua']
  const { exitCode, stderr } = await cluster.run(argv)
  if (exitCode !== 0) throw new Error(`vmrm job-submit-table: ${stderr}`)
  return stderr
}

/** Runs `work` with these children of vmrmd.xml's root, then takes them out again; nothing of them may be left. */
export async function withDefaults(cluster: Cluster, elements: string, work: () => Promise<void>): Promise<void> {
  const path = join(hostNamed(cluster.layout, 'ctl').folder, 'etc/vmrm/vmrmd.xml')
  const before = readFileSync(path, 'utf8')
  writeFileSync(path, before.replace('</vmrmd>', `${elements}</vmrmd>`))
  let said = ''
  try {
    await write(cluster)
    await work()
  } finally {
    writeFileSync(path, before)
    said = await write(cluster)
  }
  if (said !== '') throw new Error(`jobs were left in the queue: ${said}`)
}
