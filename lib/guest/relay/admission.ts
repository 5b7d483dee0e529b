// What the relay asks of whoever knows the jobs: may this task enter a VM, may this command run on the host, and the answers. Types only.
import type { GuestChannel } from '../channel/channel.ts'

/** Who asks for a task's place: what the client claims, but for `uid`, which the kernel says. */
export interface AttachRequest {
  readonly jobId: string
  readonly localId?: number
  readonly localCount?: number
  readonly vm?: number
  readonly step: string
  /** The host's CPUs that it may use. */
  readonly affinity?: string
  readonly uid: number
}

export type Admission =
  | {
      readonly outcome: 'attached'
      readonly vm: string
      readonly hostname: string
      readonly channel: GuestChannel
      /** The VM's own CPU numbers the task is bound to, such as `0,2-3`; absent: not bound. */
      readonly cpus?: string
      /** Of a best-effort job: host lists of the VMs that came up and of those that did not. */
      readonly up?: string
      readonly missing?: string
      /** The site's TaskProlog. */
      readonly taskProlog?: string
      /** Whether Slurm's commands may be run on the host for the task; absent: not. */
      readonly calls?: 'allowed' | 'refused'
    }
  | Refusal

export interface Refusal {
  readonly outcome: 'refused'
  readonly text: string
  readonly exitCode: number
}

/** A process in the guest has asked for a command; `uid` is the task's and the server's, as the kernel says. */
export interface CallRequest {
  readonly jobId: string
  readonly vm: string
  /** As the guest wrote it. Undefined: it runs already, and its server comes back to a vmrmd that was restarted. */
  readonly command: string | undefined
  readonly uid: number
}

export type CallAdmission =
  | {
      readonly outcome: 'admitted'
      /** Absolute path on the host; absent where it runs already. */
      readonly program?: string
      readonly programArguments?: readonly string[]
      /** The user's folder for what comes from the guest. */
      readonly folder: string
    }
  | Refusal
