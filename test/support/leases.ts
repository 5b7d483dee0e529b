// The controller's leases, for the leak ledger. It reads the ledger's file as it lies on disk and never writes to it.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { runId } from '../../lib/job/run.ts'
import type { Host } from '../cluster/layout.ts'

/** One text a lease that is held, such as `address 10.77.0.2 j5r0`; none while there is no ledger. */
export async function readLeases(controller: Host): Promise<string[]> {
  const path = join(controller.folder, 'var/lib/vmrm/controller/ledger.sqlite')
  if (!existsSync(path)) return []
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const rows = database.prepare('SELECT space, value, job, restart FROM leases').all()
    return rows.map(({ space, value, job, restart }) => {
      const run = runId({ job: Number(job), restart: Number(restart) })
      return `${space} ${value} ${run}`
    })
  } finally {
    database.close()
  }
}
