// Markers of jobs that named no image themselves (/run/vmrm/jobs/JOBID): the controller has them made before the Prolog, so
// that gate and plug-in know the job as one of VMs. After that they are the gate's, and of those it writes itself this removes none.
import { randomUUID } from 'node:crypto'
import { readFile, rename, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Run } from '../../job/run.ts'

const mode = 0o644

/** The marker is there when it returns; one that is there already is replaced in one step. */
export async function expectRun(folder: string, { job, restart }: Run, script: 'guest' | 'host'): Promise<void> {
  // A name of its own: the controller may say the same twice at once.
  const staged = join(folder, `.expected-${job}-${randomUUID()}`)
  await writeFile(staged, `script=${script}\nrestart=${restart}\n`, { mode })
  await rename(staged, join(folder, String(job)))
}

/** Removes the marker of a run that was expected, or of an older one of its job. */
export async function forgetExpected(folder: string, { job, restart }: Run): Promise<void> {
  const path = join(folder, String(job))
  const text = await readFile(path, 'utf8').catch(() => '') // there is none
  const [, expected] = /^restart=(\d+)$/m.exec(text) ?? []
  if (expected !== undefined && Number(expected) <= restart) await unlink(path)
}
