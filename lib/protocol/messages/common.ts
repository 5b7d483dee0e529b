// Types that several messages share: runs, requests, names, addresses. Only what the protocol itself needs.
import { z } from 'zod'
import { bytes, list } from '../schema/fields.ts'

const largestId = 0xffff_ffff

export const jobId = z.int().min(1).max(largestId)
/** Of VMs without a job. */
export const batchNumber = z.int().min(1).max(largestId)
/** What a client calls a batch: its own word, which no other batch has. A batch's number is written `b7`. */
export const batchName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)
  .refine((name) => !/^b[0-9]+$/.test(name), 'would look like the number of a batch')
/** What was asked for, in short: SHA-256 in hexadecimal. */
export const contentDigest = z.string().regex(/^[0-9a-f]{64}$/)
/** A job's id, or 4294967296 more than the number of a batch. */
const runNumber = z
  .int()
  .min(1)
  .max(2 * largestId + 1)
/** Slurm's restart count of the job; 0 in its first run. */
export const restartCount = z.int().min(0).max(largestId)
/** uids and gids below the "nobody at all" value. */
export const posixId = z
  .int()
  .min(0)
  .max(largestId - 1)

export const imageName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
export const imageRevision = z.string().regex(/^[A-Za-z0-9._-]{1,63}$/)
/** A host's or a node's name. */
export const hostName = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?$/)
export const vmName = z.string().regex(/^[jb][1-9][0-9]{0,9}r[0-9]{1,10}v[0-9]{1,6}$/)
export const userName = z.string().min(1).max(256)
export const longestReason = 16_384
/** A sentence, or the lines a user reads; reason.ts makes one of any text. */
export const reason = z.string().max(longestReason)
export const ipAddress = z.string().regex(/^[0-9A-Fa-f.:]{2,45}$/)
/** A time in UTC, such as 2026-01-31T12:00:00.000Z. */
export const instant = z
  .string()
  .regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$/)
  .refine((value) => !Number.isNaN(Date.parse(value)), 'is no time')
/** A list of CPUs as Linux writes it, such as 0,2-3. */
export const cpuList = z
  .string()
  .max(16_384)
  .regex(/^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$/)
/** An error code of the catalogue; the pattern only, since a peer may know more codes. */
export const errorCode = z.string().regex(/^[a-z][a-z0-9-]{0,63}$/)

/** What names a run: the fields of every message about one. */
export const runFields = { job: runNumber, restart: restartCount }
/** The same of a run that Slurm knows. */
export const jobRunFields = { job: jobId, restart: restartCount }
/** A run on one node. */
export const nodeRunFields = { ...runFields, node: hostName }
/** Whose job it is. */
export const ownerFields = { uid: posixId, gid: posixId, user: userName }

/** Whether a job may begin when VMs are missing. */
export const strategy = z.enum(['all-or-nothing', 'best-effort'])

export const requestSchema = z.strictObject({
  image: imageName,
  revision: imageRevision.optional(),
  perNode: z.int().min(1).max(256),
  script: z.enum(['guest', 'host']),
  /** Absent: the cluster's. */
  strategy: strategy.optional(),
})

/** VMs with which a job began all the same (best-effort): all of the run's, by hostname. */
export const missingHosts = list('missing', hostName)

/** VMs of a run that are not there, and why. */
export const missingVms = list('missing', z.strictObject({ vm: vmName, reason }))

export const empty = z.strictObject({})

export const verdict = z.enum(['pending', 'commit', 'abort', 'lost', 'ended'])
export const runState = z.enum(['planned', 'preparing', 'prepared', 'committed', 'aborted', 'lost', 'ending', 'ended'])

/** Which VM of a run; counts over the whole run. */
export const vmIndex = z.int().min(0).max(999_999)

/** Where a console's bytes are counted from: its first, whether it is still kept or not. */
export const consoleOffset = z.int().min(0)
export const consolePartBytes = 65_536
/**
 * Bytes of a console log from `offset` on, which is not the one asked for where those are cut off; none: that is its end.
 * `end`: where the log ended when they were read.
 */
export const consolePart = { offset: consoleOffset, end: consoleOffset, data: bytes(consolePartBytes) }
