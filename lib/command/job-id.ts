// A job's number as people type it.
import { VmrmError } from '../errors/vmrm-error.ts'

const largestJobId = 0xffff_ffff

/** Throws `request-invalid` for anything but a job's plain number. */
export function parseJobId(text: string): number {
  const job = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : Number.NaN
  if (job <= largestJobId) return job
  throw new VmrmError('request-invalid', `${JSON.stringify(text.slice(0, 100))} is no job id: a number such as 123`, {
    hint: text.includes('_') ? 'A task of an array has a job id of its own: see `squeue --format="%i %A"`.' : '',
  })
}
