// The first frames on task.sock: ATTACH of a task, SERVE of a call's server, and ATTACHED, the answer. Pure; nothing here is believed yet.
import { type Field, type FieldValue, textOf, u32Of, u64sOf } from '../frame/fields.ts'

export interface AttachFields {
  readonly jobId: string
  /** Which of the node's tasks this is, of how many; absent where `vm` is given. */
  readonly localId?: number
  readonly localCount?: number
  /** The VM's index on this node. */
  readonly vm?: number
  /** For people: `batch`, `0.3`. */
  readonly step: string
  readonly session: bigint
  readonly resumed: 'new' | 'resumed'
  /** The host's CPUs that vmrm-run may use, such as `0,2-3`. */
  readonly affinity?: string
}

export interface ServeFields {
  readonly jobId: string
  /** The call's. */
  readonly session: bigint
  /** The session of the task that the call came from. */
  readonly parent: bigint
  readonly resumed: 'new' | 'resumed'
}

/** What ATTACHED says; a task has `hostname`, the server of a call has `program` and `folder`. */
export interface AttachedFields {
  readonly vm: string
  readonly hostname?: string
  /** The VM's own CPU numbers the task is bound to, such as `0,2-3`; absent: not bound. */
  readonly cpus?: string
  /** Of a best-effort job: host lists of the VMs that came up and of those that did not. */
  readonly up?: string
  readonly missing?: string
  /** The site's program that vmrm-run runs first, on the host. */
  readonly taskProlog?: string
  /** What the server runs: an absolute path on the host. */
  readonly program?: string
  /** Arguments in front of the caller's own. */
  readonly programArguments?: readonly string[]
  /** The user's own folder for what comes from the guest. */
  readonly folder?: string
}

/** A job's, or a batch's. */
const jobNumber = /^b?[1-9]\d{0,9}$/
const cpuList = /^\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?){0,500}$/

/** Undefined where the fields are no proper ATTACH. */
export function readAttach(session: bigint, fields: readonly Field[]): AttachFields | undefined {
  const jobId = textOf(fields, 1) ?? ''
  const step = textOf(fields, 5) ?? ''
  if (session === 0n || !jobNumber.test(jobId) || !/^[\w.+-]{0,64}$/.test(step)) return undefined
  const localId = u32Of(fields, 2)
  const localCount = u32Of(fields, 3)
  const vm = u32Of(fields, 6)
  const resumed = fields.some((field) => field.tag === 4) ? 'resumed' : 'new'
  const affinity = textOf(fields, 7)
  if (affinity !== undefined && !cpuList.test(affinity)) return undefined
  const common = { jobId, step, session, resumed, ...(affinity === undefined ? {} : { affinity }) } as const
  if (vm !== undefined) return { ...common, vm }
  if (localId === undefined || localCount === undefined || localId >= localCount) return undefined
  return { ...common, localId, localCount }
}

/** Undefined where the fields are no proper SERVE. */
export function readServe(session: bigint, fields: readonly Field[]): ServeFields | undefined {
  const jobId = textOf(fields, 1) ?? ''
  const [parent = 0n] = u64sOf(fields, 2)
  if (session === 0n || parent === 0n || parent === session || !jobNumber.test(jobId)) return undefined
  return { jobId, session, parent, resumed: fields.some((field) => field.tag === 3) ? 'resumed' : 'new' }
}

/** The fields of ATTACHED. */
export function attachedPayload(place: AttachedFields): [tag: number, value: FieldValue][] {
  const fields: [number, FieldValue | undefined][] = [
    [1, place.vm],
    [2, place.hostname],
    [3, place.cpus],
    [4, place.program],
    [5, place.folder],
    [6, place.taskProlog],
    [9, place.up],
    [10, place.missing],
    ...(place.programArguments ?? []).map((text): [number, string] => [8, text]),
  ]
  return fields.filter((field): field is [number, FieldValue] => field[1] !== undefined)
}
