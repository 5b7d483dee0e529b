// `vmrm console`: what a VM has written to its serial console; with --attach, the console itself.
import { setTimeout as delay } from 'node:timers/promises'
import { isatty } from 'node:tty'
import { loadDaemonConfig } from '../config/load.ts'
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import { parseBatchName } from '../job/run.ts'
import type { ProtocolClient } from '../protocol/client.ts'
import { findJob } from '../slurm/find-job.ts'
import { printableConsole } from '../vm/console.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { withController } from './controller.ts'
import { findVm, parseVmNumber } from './find-vm.ts'

const usage = 'vmrm console [--follow] JOB|BATCH [--vm N]\nvmrm console --attach JOB|BATCH [--vm N]'
const followMs = 1000

export const console: Command = {
  summary: "what a VM's kernel and services have written to its console",
  usage,
  help: `Prints the console log of a VM of a job that runs or starts: the kernel's and the system's words, not the job's output.
The log is kept up to a size; of a longer one its end is there. What was cut off meanwhile is told on stderr. On a terminal control characters are left out.
  JOB        123; 123_4 in an array; 123+1 in a heterogeneous job
  BATCH      b7: VMs without a job
  --vm N     which VM of the job (default 0)
  --follow   go on until the VM ends
  --attach   for root, on the VM's node: the console itself, one process at a time; Ctrl-] detaches
You may read your own jobs' consoles; root and SlurmUser all.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, {
      vm: { type: 'string' },
      follow: { type: 'boolean' },
      attach: { type: 'boolean' },
    })
    const [job, ...more] = positionals
    if (job === undefined || more.length > 0) throw new UsageError('one job is needed', usage)
    if (values.attach === true && values.follow === true) throw new UsageError('--attach or --follow?', usage)
    const vm = parseVmNumber(values.vm, usage)
    if (values.attach === true) return attach(job, vm)
    const batch = parseBatchName(job)
    const of = batch === undefined ? { job: (await findJob(job, loadDaemonConfig().slurm)).id } : { batch }
    const printer = createPrinter(isatty(1) ? 'clean' : 'raw', (part) => process.stdout.write(part))
    await withController((controller) =>
      copyConsole({ controller, of, vm, until: values.follow === true ? 'ended' : 'now', printer, remark }),
    )
    return 0
  },
}

function remark(sentence: string): void {
  process.stderr.write(`vmrm: ${sentence}\n`)
}

async function attach(job: string, index: number): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new VmrmError(
      'not-permitted',
      "only root may attach to a VM's console; `vmrm console JOB` shows what it said",
    )
  const { attachConsole } = await import('./attach-console.ts')
  return attachConsole(await findVm(job, index))
}

interface Printer {
  print(data: Uint8Array): void
  /** Nothing more comes for now: a line without an end is shown, too. */
  pause(): void
}

/** Clean: whole lines only, so that no escape sequence is cut in two. */
export function createPrinter(how: 'clean' | 'raw', write: (part: string | Uint8Array) => void): Printer {
  const decoder = new TextDecoder()
  let held = ''
  const show = (text: string) => {
    if (text !== '') write(printableConsole(text))
  }
  return {
    print(data) {
      if (how === 'raw') return write(data)
      held += decoder.decode(data, { stream: true })
      const end = held.lastIndexOf('\n') + 1
      show(held.slice(0, end))
      held = held.slice(end)
    },
    pause() {
      show(held)
      held = ''
    },
  }
}

/**
 * Asks for part after part: until the end that the log had at first (`now`), or until the VM's. Once it has shown something,
 * the end of the VM is its end. `remark` is told where what is shown does not go on from what was shown before.
 */
export async function copyConsole(options: {
  controller: Pick<ProtocolClient, 'call'>
  of: { readonly job: number } | { readonly batch: number }
  vm: number
  until: 'now' | 'ended'
  printer: Printer
  remark: (sentence: string) => void
}): Promise<void> {
  const { controller, of, vm, until, printer, remark } = options
  let offset = 0
  let firstEnd: number | undefined
  for (let asked = 0; ; asked += 1) {
    const part = await controller.call('read-console', { ...of, vm, offset }).catch((error: unknown) => {
      const { code } = toVmrmError(error)
      if (asked > 0 && (code === 'run-unknown' || code === 'job-without-vms')) return undefined
      throw error
    })
    if (part === undefined) return
    if (asked > 0 && part.offset !== offset) {
      printer.pause()
      remark(breakBetween(offset, part.offset))
    }
    printer.print(part.data)
    offset = part.offset + part.data.length
    firstEnd ??= part.end
    const isAtEnd = part.data.length === 0 || (until === 'now' && offset >= firstEnd)
    if (!isAtEnd) continue
    printer.pause()
    const isOver = part.state !== 'preparing' && part.state !== 'committed'
    if (until === 'now' || isOver) return
    await delay(followMs)
  }
}

function breakBetween(shown: number, next: number): string {
  if (next > shown) return `the log was cut: ${next - shown} bytes of it are missing here`
  return 'the log begins anew here: some of it may have been shown before'
}
