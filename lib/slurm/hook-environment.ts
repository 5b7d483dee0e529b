// The environment of Slurm's hooks, typed. Everything in it is unknown until here: users set the SPANK part.
import { z } from 'zod'
import { imageName, imageRevision } from '../config/image-schema.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type Strategy, strategies } from '../job/decision.ts'

const decimal = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,10}$/)
    .transform(Number)
    .refine((value) => value >= min && value <= max)
const text = z.string().min(1).max(1024)

const slurmSchema = z.object({
  SLURM_JOB_ID: decimal(1, 0xffff_ffff),
  SLURM_JOB_UID: decimal(0, 0xffff_fffe),
  SLURM_JOB_GID: decimal(0, 0xffff_fffe).optional(),
  SLURM_JOB_USER: text,
  SLURM_RESTART_COUNT: decimal(0, 0xffff).optional(),
  SLURM_JOB_RESTART_COUNT: decimal(0, 0xffff).optional(),
})

const controllerSchema = slurmSchema.extend({
  SLURM_JOB_NODELIST: z.string().min(1).max(65_536),
  SLURM_JOB_ACCOUNT: z.string().max(1024).optional(),
  SLURM_JOB_PARTITION: z.string().max(1024).optional(),
  SLURM_ARRAY_JOB_ID: decimal(1, 0xffff_ffff).optional(),
  SLURM_ARRAY_TASK_ID: decimal(0, 0xffff_ffff).optional(),
})

const requestSchema = z.object({
  SPANK_VMRM_IMAGE: z.string().max(200),
  SPANK_VMRM_PER_NODE: z
    .string()
    .regex(/^[1-9]\d{0,2}$/)
    .transform(Number)
    .refine((value) => value <= 256)
    .default(1),
  SPANK_VMRM_SCRIPT: z.enum(['guest', 'host']).default('guest'),
  SPANK_VMRM_STRATEGY: z.enum(strategies).optional(),
})

export interface HookJob {
  readonly job: number
  readonly restart: number
  readonly uid: number
  readonly gid: number
  readonly user: string
}

export interface VmRequest {
  readonly image: string
  readonly revision?: string | undefined
  readonly perNode: number
  readonly script: 'guest' | 'host'
  /** Absent: the cluster's. */
  readonly strategy?: Strategy | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

/** The job of a Prolog or Epilog. Throws `message-invalid` if Slurm's own variables are missing or wrong. */
export function parseHookJob(environment: Environment): HookJob {
  return toJob(check(slurmSchema, environment))
}

/** The job of PrologSlurmctld or EpilogSlurmctld, with its nodes. `selector` names the one job to scontrol. */
export function parseControllerJob(environment: Environment) {
  const parsed = check(controllerSchema, environment)
  const isArrayTask = parsed.SLURM_ARRAY_JOB_ID !== undefined && parsed.SLURM_ARRAY_TASK_ID !== undefined
  return {
    ...toJob(parsed),
    nodes: parsed.SLURM_JOB_NODELIST,
    account: parsed.SLURM_JOB_ACCOUNT ?? '',
    partition: parsed.SLURM_JOB_PARTITION ?? '',
    selector: isArrayTask ? `${parsed.SLURM_ARRAY_JOB_ID}_${parsed.SLURM_ARRAY_TASK_ID}` : String(parsed.SLURM_JOB_ID),
  }
}

/** What the user asked for; throws `request-invalid` (a user's mistake or attack, never the node's fault). */
export function parseVmRequest(environment: Environment): VmRequest {
  const parsed = requestSchema.safeParse(environment)
  if (!parsed.success) throw invalidRequest(String(parsed.error.issues[0]?.path[0] ?? 'SPANK_VMRM_IMAGE'), environment)
  const [name, revision, ...rest] = parsed.data.SPANK_VMRM_IMAGE.split('@')
  const isFine = imageName.safeParse(name).success && rest.length === 0
  if (!isFine || name === undefined || (revision !== undefined && !imageRevision.safeParse(revision).success)) {
    throw invalidRequest('SPANK_VMRM_IMAGE', environment)
  }
  return {
    image: name,
    ...(revision === undefined ? {} : { revision }),
    perNode: parsed.data.SPANK_VMRM_PER_NODE,
    script: parsed.data.SPANK_VMRM_SCRIPT,
    ...(parsed.data.SPANK_VMRM_STRATEGY === undefined ? {} : { strategy: parsed.data.SPANK_VMRM_STRATEGY }),
  }
}

function check<T>(schema: z.ZodType<T>, environment: Environment): T {
  const parsed = schema.safeParse(environment)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new VmrmError('message-invalid', `Slurm's ${String(issue?.path[0])} is missing or not what it should be`)
}

function toJob(parsed: z.infer<typeof slurmSchema>): HookJob {
  return {
    job: parsed.SLURM_JOB_ID,
    restart: parsed.SLURM_JOB_RESTART_COUNT ?? parsed.SLURM_RESTART_COUNT ?? 0,
    uid: parsed.SLURM_JOB_UID,
    gid: parsed.SLURM_JOB_GID ?? parsed.SLURM_JOB_UID,
    user: parsed.SLURM_JOB_USER,
  }
}

function invalidRequest(variable: string, environment: Environment): VmrmError {
  const given = JSON.stringify((environment[variable] ?? '').slice(0, 100))
  // Printable whatever it is, so that it gets through the protocol and no terminal obeys it.
  const value = given.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return new VmrmError('request-invalid', `${variable.replace('SPANK_', '')} has a value that cannot be used: ${value}`)
}
