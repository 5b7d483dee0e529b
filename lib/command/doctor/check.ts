// What a check of `vmrm doctor` is. Checks look and say; they change nothing and never wait without a bound.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { SlurmConfig } from './slurm-config.ts'

export const roles = ['node', 'controller', 'submit'] as const
export type Role = (typeof roles)[number]

/** `warn`: VM jobs run, but not as well or as safely as they could. `fail`: some or all of them cannot. */
export type Verdict = 'ok' | 'warn' | 'fail'

export interface Finding {
  readonly verdict: Verdict
  /** What was found, one line. */
  readonly text: string
  /** What follows from it; for problems. */
  readonly meaning?: string
  /** The command or line that mends it; for problems. */
  readonly mend?: string
}

export interface DoctorContext {
  readonly roles: ReadonlySet<Role>
  readonly configPath: string
  readonly config: DaemonConfig
  /** What `scontrol show config` says, asked once; undefined where it does not answer. */
  readonly slurm: () => Promise<SlurmConfig | undefined>
}

export interface Check {
  /** Short and stable: scripts may look for it. */
  readonly name: string
  readonly roles: readonly Role[]
  /** An empty list: it does not apply here. What it throws becomes a failure. */
  run(context: DoctorContext): Promise<readonly Finding[]>
}

export const ok = (text: string): Finding => ({ verdict: 'ok', text })

export function warn(text: string, meaning: string, mend: string): Finding {
  return { verdict: 'warn', text, meaning, mend }
}

export function fail(text: string, meaning: string, mend: string): Finding {
  return { verdict: 'fail', text, meaning, mend }
}

/** The problems, or one line that all is well. */
export function problemsOr(text: string, problems: readonly Finding[]): readonly Finding[] {
  return problems.length > 0 ? problems : [ok(text)]
}
