// Every combination of what up to three nodes can have reported, under both strategies.
import t from 'tap'
import { decide, type ReportedNode } from '../../lib/job/decision.ts'

type Kind = 'planned' | 'prepared' | 'failed' | 'ended' | 'without-first' | 'without-second'
const kinds: readonly Kind[] = ['planned', 'prepared', 'failed', 'ended', 'without-first', 'without-second']

function node(name: string, kind: Kind): ReportedNode {
  const vms = ['a', 'b'].map((vm) => ({ name: `${name}${vm}` }))
  const lacks = kind === 'without-first' ? 0 : kind === 'without-second' ? 1 : undefined
  return {
    node: name,
    state: lacks === undefined ? (kind as ReportedNode['state']) : 'prepared',
    reason: kind === 'failed' ? `${name} failed` : '',
    vms,
    missing: lacks === undefined ? [] : [{ vm: vms[lacks]?.name ?? '', reason: `${name} lacks one` }],
  }
}

function* combinations(count: number): Generator<readonly Kind[]> {
  if (count === 0) yield []
  else for (const rest of combinations(count - 1)) for (const kind of kinds) yield [kind, ...rest]
}

const cases = [1, 2, 3].flatMap((count) => [...combinations(count)])

t.test('all-or-nothing commits with every VM and never with fewer', async (t) => {
  let commits = 0
  for (const now of cases)
    for (const isLate of [false, true]) {
      const found = decide(
        'all-or-nothing',
        now.map((kind, at) => node(`n${at}`, kind)),
        isLate ? 240 : undefined,
      )
      const isWhole = now.every((kind) => kind === 'prepared')
      const isBroken = now.some((kind) => !['prepared', 'planned'].includes(kind))
      const expected = isWhole ? 'commit' : isBroken || isLate ? 'abort' : 'wait'
      if (found.kind !== expected) t.fail(`${now.join(' ')} ${isLate}: ${found.kind}, not ${expected}`)
      if (found.kind === 'commit') commits += 1
      if (found.kind === 'commit' && found.missing.length > 0) t.fail(`${now.join(' ')}: commits without a VM`)
      if (found.kind === 'abort' && found.reason === '') t.fail(`${now.join(' ')}: no reason`)
    }
  t.equal(commits, 6, `of ${cases.length * 2}`)
})

t.test('best-effort begins with what came up, once nobody is waited for, and never without the first VM', async (t) => {
  for (const now of cases)
    for (const isLate of [false, true]) {
      const found = decide(
        'best-effort',
        now.map((kind, at) => node(`n${at}`, kind)),
        isLate ? 240 : undefined,
      )
      const [first = 'planned'] = now
      const hasNoFirst = ['failed', 'ended', 'without-first'].includes(first) || (isLate && first === 'planned')
      const expected = hasNoFirst ? 'abort' : !isLate && now.includes('planned') ? 'wait' : 'commit'
      if (found.kind !== expected) t.fail(`${now.join(' ')} ${isLate}: ${found.kind}, not ${expected}`)
      if (found.kind === 'abort' && found.reason === '') t.fail(`${now.join(' ')}: no reason`)
      if (found.kind !== 'commit') continue
      const lost: number[] = now.map((kind) => (kind === 'prepared' ? 0 : kind.startsWith('without') ? 1 : 2))
      const count = lost.reduce((sum, each) => sum + each, 0)
      if (found.missing.length !== count) t.fail(`${now.join(' ')}: ${found.missing.length} missing, not ${count}`)
      if (found.missing.some(({ reason }) => reason === '')) t.fail(`${now.join(' ')}: one is missing without a reason`)
    }
  t.pass(`${cases.length * 2} cases`)
})

t.test('a run without a plan waits', async (t) => {
  for (const strategy of ['all-or-nothing', 'best-effort'] as const)
    t.equal(decide(strategy, [], undefined).kind, 'wait')
})
