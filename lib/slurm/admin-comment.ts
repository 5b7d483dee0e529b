// AdminComment as vmrm uses it: in front what job_submit/lua decided for a job that named no image itself, behind it whatever
// the site wrote, at the end the cause of a failure. Only administrators and job_submit can write it (Slurm 22.05). Pure.
import { parseVmRequest, type VmRequest } from './hook-environment.ts'

const decided = /^vmrm-image=\S+(?: vmrm-per-node=\S+)?(?: vmrm-script=\S+)?(?: vmrm-strategy=\S+)?(?=\s|$)/
const cause = /(?:^|; | )vmrm: .*$/s

/** The request that was decided at submission, or undefined. Throws `request-invalid` for one that cannot be used. */
export function requestInComment(comment: string): VmRequest | undefined {
  const tokens = decided.exec(comment)?.[0].split(' ') ?? []
  const values = new Map(
    tokens.map((token) => [token.slice(0, token.indexOf('=')), token.slice(token.indexOf('=') + 1)]),
  )
  const image = values.get('vmrm-image')
  if (image === undefined) return undefined
  return parseVmRequest({
    SPANK_VMRM_IMAGE: image,
    SPANK_VMRM_PER_NODE: values.get('vmrm-per-node'),
    SPANK_VMRM_SCRIPT: values.get('vmrm-script'),
    SPANK_VMRM_STRATEGY: values.get('vmrm-strategy'),
  })
}

/** The comment with a new cause in place of an older one; the decision, which a requeued job needs, and the site's text stay. */
export function withCause(comment: string, sentence: string): string {
  const [tokens = ''] = decided.exec(comment) ?? []
  const text = comment.slice(tokens.length).replace(cause, '').trim()
  const before = [tokens, text].filter(Boolean).join(' ')
  if (before === '') return sentence
  return text === '' ? `${before} ${sentence}` : `${before}; ${sentence}`
}

const idWidth = 16
const commentWidth = 4000
/** What squeue --Format prints in columns that parseAdminComment() takes apart. */
export const commentFormat = `JobID:${idWidth},admin_comment:${commentWidth}`

/** One job's AdminComment from squeue's lines, of which an array has several; undefined if the job is not there. */
export function parseAdminComment(text: string, job: number): string | undefined {
  const line = text.split('\n').find((each) => each.startsWith(String(job).padEnd(idWidth)))
  const comment = line?.slice(idWidth).trim()
  return comment === '(null)' || comment === 'N/A' ? '' : comment
}

/** Whether one of squeue's lines has a decision. */
export function hasDecision(text: string): boolean {
  return text.split('\n').some((line) => /^\d/.test(line) && decided.test(line.slice(idWidth)))
}
