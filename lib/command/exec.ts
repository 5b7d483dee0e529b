// `vmrm exec`: a command in a VM of a running job. It becomes srun, so terminal, signals and exit code are srun's own.
import { isatty } from 'node:tty'
import { lookUpAccount } from '../daemon/account.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { findVm, parseVmNumber } from './find-vm.ts'
import { stepOf } from './step.ts'

const usage = 'vmrm exec JOB|BATCH [--vm N] [--pty|--no-pty] [-- COMMAND [ARGUMENT …]]'

export const exec: Command = {
  summary: 'run a command, by default a shell, in a VM of a running job',
  usage,
  help: `Runs a command as the job's user in a VM of a running job: a step of the job, which srun starts beside the others.
  JOB        123; 123_4 in an array; 123+1 in a heterogeneous job
  BATCH      b7: VMs without a job; on the VM's own node, where the command is no step of Slurm's
  --vm N     which VM of the job, as the last number in its name says (default 0); see \`vmrm ps JOB\`
  --pty      give it a terminal; default where stdin and stdout are terminals
  --no-pty   never
  COMMAND    data, never read by a shell; default: your shell
Exit code: the command's, as srun tells it. You may use it on your own jobs; root on all, and is the job's user there.`,
  async run(args) {
    const at = args.indexOf('--')
    const [own, command] = at < 0 ? [args, []] : [args.slice(0, at), args.slice(at + 1)]
    const { values, positionals } = readOptions(usage, own, {
      vm: { type: 'string' },
      pty: { type: 'boolean' },
      'no-pty': { type: 'boolean' },
    })
    const [job, ...more] = positionals
    if (job === undefined) throw new UsageError('which job?', usage)
    if (more.length > 0) throw new UsageError('the command stands behind --', usage)
    if (at >= 0 && command.length === 0) throw new UsageError('no command stands behind --', usage)
    if (values.pty === true && values['no-pty'] === true) throw new UsageError('--pty or --no-pty?', usage)
    const index = parseVmNumber(values.vm, usage)
    const isAtTerminal = isatty(0) && isatty(1)
    if (values.pty === true && !isAtTerminal)
      throw new VmrmError('request-invalid', '--pty: stdin and stdout are not a terminal')
    const vm = await findVm(job, index)
    const isRoot = process.getuid?.() === 0
    const account = await lookUpAccount(vm.job.uid)
    const step = stepOf({
      vm,
      command: at < 0 ? shellOf(account.shell) : command,
      io: isAtTerminal && values['no-pty'] !== true ? 'terminal' : 'streams',
      ...(isRoot && vm.job.uid !== 0 ? { as: account } : {}),
      environment: process.env,
    })
    return become(step.file, step.argv, step.environment)
  },
}

/** The account's shell may be none of the image's. */
function shellOf(shell: string): readonly string[] {
  return ['/bin/sh', '-c', '[ -x "$1" ] && exec "$1"; exec /bin/sh', 'sh', shell]
}

function become(file: string, argv: readonly string[], environment: Readonly<Record<string, string>>): never {
  if (process.execve === undefined) throw new VmrmError('internal', 'this runtime cannot become another program')
  return process.execve(file, [...argv], environment)
}
