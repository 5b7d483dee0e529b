// `vmrm ssh`: the host's own ssh into a VM of a running job, with the key made for the job and over a step of the job,
// so neither the VM's network nor the caller's ssh configuration matters. It must never leave a key, agent or file behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { lookUpAccount } from '../daemon/account.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { type FoundVm, findVm, parseVmNumber } from './find-vm.ts'
import { connectPath, readJobKeys } from './ssh/job-keys.ts'
import { holdKey } from './ssh/key-holder.ts'
import { sshArgv } from './ssh/ssh-argv.ts'
import { defaultSignals } from './step.ts'

const usage = 'vmrm ssh JOB [--vm N] [-- ARGUMENT …]'
const port = '22'
const signalExit = 128

export const ssh: Command = {
  summary: 'ssh into a VM of a running job, with the key made for the job',
  usage,
  help: `Runs this host's ssh into a VM of a running job, as the job's user. The connection is a step of the job.
  JOB        123; 123_4 in an array; 123+1 in a heterogeneous job
  --vm N     which VM of the job (default 0)
  ARGUMENT   options of ssh, and a command: \`vmrm ssh 123 -- -L 8080:localhost:80\`
Your own ssh configuration and keys do not count and are not changed. The image needs an ssh server.
Exit code: ssh's. You may use it on your own jobs; root on all, and is the job's user there.`,
  async run(args) {
    const at = args.indexOf('--')
    const [own, more] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at + 1)]
    const { values, positionals } = readOptions(usage, own, { vm: { type: 'string' } })
    const [job, ...others] = positionals
    if (job === undefined) throw new UsageError('which job?', usage)
    if (others.length > 0) throw new UsageError("ssh's options and the command stand behind --", usage)
    const vm = await findVm(job, parseVmNumber(values.vm, usage))
    return runSsh(vm, { job, index: String(vm.index), more })
  },
}

async function runSsh(vm: FoundVm, request: { job: string; index: string; more: readonly string[] }): Promise<number> {
  const passing = holdSignals()
  const keys = await readJobKeys(vm)
  // Not in TMPDIR: a socket's path must be short.
  const folder = mkdtempSync('/tmp/vmrm-ssh-')
  try {
    const [agentSocket, knownHosts] = [join(folder, 'agent'), join(folder, 'known_hosts')]
    writeFileSync(knownHosts, keys.known)
    const holder = await holdKey(agentSocket, keys.key)
    try {
      const exec = [process.execPath, 'exec', '--no-pty', request.job, '--vm', request.index]
      const argv = sshArgv({
        user: (await lookUpAccount(vm.job.uid)).name,
        hostname: vm.hostname,
        connection: [...exec, '--', connectPath, port],
        ...{ knownHosts, agentSocket, more: request.more },
      })
      return await passing(argv)
    } finally {
      await holder.end()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** From here on no signal ends this process before it has cleaned up; the result runs ssh, which gets them. */
function holdSignals(): (argv: readonly string[]) => Promise<number> {
  let last: NodeJS.Signals | undefined
  let act = (signal: NodeJS.Signals) => {
    last = signal
  }
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'] as const) process.on(signal, () => act(signal))
  return async (argv) => {
    if (last !== undefined) return signalExit + constants.signals[last]
    // Its shell is for the connection's command alone.
    const child = spawn('/usr/bin/env', [defaultSignals, 'SHELL=/bin/sh', 'ssh', ...argv], { stdio: 'inherit' })
    // The terminal has told ssh of the others itself.
    act = (signal) => void ((signal === 'SIGHUP' || signal === 'SIGTERM') && child.kill(signal))
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    return code ?? signalExit + constants.signals[signal ?? 'SIGKILL']
  }
}
