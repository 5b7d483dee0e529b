import t from 'tap'
import { hasDecision, parseAdminComment, requestInComment, withCause } from '../../lib/slurm/admin-comment.ts'

t.test('the request is what leads the comment, and nothing else', async (t) => {
  for (const [comment, request] of [
    ['vmrm-image=tiny', { image: 'tiny', perNode: 1, script: 'guest' }],
    ['vmrm-image=tiny@7 some text', { image: 'tiny', revision: '7', perNode: 1, script: 'guest' }],
    ['vmrm-image=a vmrm-per-node=2 vmrm-script=host; x', undefined],
    ['vmrm-image=a vmrm-per-node=2 vmrm-script=host x', { image: 'a', perNode: 2, script: 'host' }],
    ['', undefined],
    ['text vmrm-image=tiny', undefined],
    ['vmrm: VM j1r0v0 is gone vmrm-image=tiny', undefined],
    ['vmrm-imageX=tiny', undefined],
  ] as const) {
    if (comment.includes('host;')) t.throws(() => requestInComment(comment), { code: 'request-invalid' }, comment)
    else t.same(requestInComment(comment), request, comment)
  }
  for (const wrong of ['vmrm-image=../x', 'vmrm-image=a@b@c', 'vmrm-image=a vmrm-per-node=0', 'vmrm-image=A'])
    t.throws(() => requestInComment(wrong), { code: 'request-invalid' }, wrong)
})

t.test('a cause takes the place of an older one; decision and site text stay', async (t) => {
  const now = 'vmrm: it broke'
  for (const [before, after] of [
    ['', now],
    ['vmrm: older', now],
    ['vmrm-image=tiny', `vmrm-image=tiny ${now}`],
    [`vmrm-image=tiny vmrm-per-node=2 ${now} before; with more`, `vmrm-image=tiny vmrm-per-node=2 ${now}`],
    ['by the site', `by the site; ${now}`],
    [`vmrm-image=tiny by the site; vmrm: older`, `vmrm-image=tiny by the site; ${now}`],
  ] as const) {
    t.equal(withCause(before, now), after, before)
    t.equal(withCause(withCause(before, 'vmrm: another'), now), after, 'again')
  }
})

t.test("one job's comment is taken out of squeue's lines", async (t) => {
  const line = (id: number, comment: string) => `${String(id).padEnd(16)}${comment.padEnd(40)}`
  const text = [line(12, 'vmrm-image=tiny'), line(123, ''), line(13, '(null)')].join('\n')
  t.equal(parseAdminComment(text, 12), 'vmrm-image=tiny')
  t.equal(parseAdminComment(text, 123), '')
  t.equal(parseAdminComment(text, 13), '')
  t.equal(parseAdminComment(text, 1), undefined)
  t.equal(hasDecision(text), true)
  t.equal(hasDecision(line(9, 'text vmrm-image=tiny')), false)
})
