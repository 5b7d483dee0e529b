// A step of one task in one VM of a running job: srun's command line and environment. Slurm decides who may have the step,
// and accounts for it. A batch has no job, so there it is vmrm-run itself, on the VM's node. Never a task of root's: where
// root asks, srun itself runs as the job's user.
import type { Account } from '../daemon/account.ts'
import { taskRunner } from '../daemon/installed.ts'
import { isBatch } from '../job/run.ts'
import { type FoundVm, requireHere } from './find-vm.ts'

export interface Step {
  readonly file: string
  /** argv[0] included. */
  readonly argv: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

export interface StepOptions {
  readonly vm: FoundVm
  /** Never empty. */
  readonly command: readonly string[]
  readonly io: 'terminal' | 'streams'
  /** Whose step it is, where that is not the caller. */
  readonly as?: Account
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** The runtime of this program ignores them, and that would be handed on. */
export const defaultSignals = '--default-signal=PIPE,XFSZ'

export function stepOf(options: StepOptions): Step {
  const { vm, command, io, as, environment } = options
  if (isBatch({ job: vm.job.id })) return taskInBatch(options)
  const { commands, config } = vm.config.slurm
  const user = as === undefined ? [] : asUser(as)
  const folder = as === undefined ? [] : [`--chdir=${as.home}`]
  return {
    file: '/usr/bin/env',
    argv: [
      ...['env', defaultSignals],
      ...user,
      ...[`${commands}/srun`, `--jobid=${vm.job.id}`, '--overlap', '--nodes=1', '--ntasks=1', `--nodelist=${vm.node}`],
      // Without --unbuffered slurmstepd hands on whole lines only, and a protocol such as ssh's has none.
      ...['--mpi=none', io === 'terminal' ? '--pty' : '--unbuffered', ...folder, '--'],
      ...command,
    ],
    environment: {
      ...(as === undefined ? ownEnvironment(environment) : loginEnvironment(as, environment)),
      SLURM_CONF: config,
      // With it the plug-in knows in time that this is a step and no new job.
      SLURM_JOB_ID: String(vm.job.id),
      VMRM_EXEC_VM: String(vm.position),
    },
  }
}

/** vmrmd lets in whom the kernel says to be the batch's user, or root. */
function taskInBatch({ vm, command, as, environment }: StepOptions): Step {
  requireHere(vm, { what: 'the way into it', command: `vmrm exec ${vm.job.name} --vm ${vm.index}` })
  const runner = [taskRunner, '--job', vm.job.name, '--vm', String(vm.position), '--', ...command]
  return {
    file: '/usr/bin/env',
    argv: ['env', defaultSignals, ...(as === undefined ? [] : ['-C', as.home, ...asUser(as)]), ...runner],
    environment: as === undefined ? ownEnvironment(environment) : loginEnvironment(as, environment),
  }
}

function asUser({ uid, gid }: Account): string[] {
  return ['/usr/bin/setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--init-groups', '--']
}

/** The caller's, without what an allocation around it has set: srun would take that for its options. */
export function ownEnvironment(environment: StepOptions['environment']): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => !/^(?:SLURM|SLURMD|SRUN|SPANK|_SLURM|VMRM)_/.test(name))
  return Object.fromEntries(kept.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

/** As after a login: nothing of root's own comes into a user's VM. */
function loginEnvironment(account: Account, { TERM, LANG }: StepOptions['environment']): Record<string, string> {
  return {
    HOME: account.home,
    USER: account.name,
    LOGNAME: account.name,
    SHELL: account.shell,
    PATH: '/usr/local/bin:/usr/bin:/bin',
    ...(TERM === undefined ? {} : { TERM }),
    ...(LANG === undefined ? {} : { LANG }),
  }
}
