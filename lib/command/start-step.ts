// A step in a VM of a running job as a child of this process, with its streams; srun's words go to stderr.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { lookUpAccount } from '../daemon/account.ts'
import type { FoundVm } from './find-vm.ts'
import { stepOf } from './step.ts'

/** srun's own line about the exit code tells what the exit code tells. */
const obvious = /^srun: error: .*: Exited with exit code \d+$/

export interface StartedStep {
  /** Never fails: a command that reads no more says so by its end. */
  readonly stdin: Writable
  readonly stdout: Readable
  /** The exit code, once both streams have ended; null where a signal ended it. */
  readonly ended: Promise<number | null>
}

/** As the job's user, whom root becomes for it. */
export async function startStep(vm: FoundVm, command: readonly string[]): Promise<StartedStep> {
  const isOthers = process.getuid?.() === 0 && vm.job.uid !== 0
  const as = isOthers ? { as: await lookUpAccount(vm.job.uid) } : {}
  const { file, argv, environment } = stepOf({ vm, command, io: 'streams', ...as, environment: process.env })
  const child = spawn(file, argv.slice(1), { env: environment, stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {})
  const words = createInterface({ input: child.stderr })
  words.on('line', (line) => {
    if (!obvious.test(line)) process.stderr.write(`${line}\n`)
  })
  const ended = Promise.all([once(child, 'close'), once(words, 'close')]).then(([[code]]) => code as number | null)
  ended.catch(() => {})
  return { stdin: child.stdin, stdout: child.stdout, ended }
}
