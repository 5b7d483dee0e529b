import t from 'tap'
import { type ClonesOfN, extrapolate, figuresOf, middle } from './clone-figures.ts'
import { inTurn } from './in-turn.ts'
import { ticksOf } from './process-cost.ts'

const of50: ClonesOfN = {
  n: 50,
  atOnce: 4,
  limit: { identifiedMs: 9_000, answeredMs: 10_000, cpuSeconds: 20, pssMb: 2_000 },
  plainMs: 1_000,
  clones: { answeredMs: 16_000, preparedMs: 13_000, copyMs: 100, booted: 0, cpuSeconds: 30, pssMb: 3_500 },
  boots: { n: 10, answeredMs: 31_000, plainMs: 1_000, cpuSeconds: 40, pssMb: 1_500 },
  script: { eachMs: [4_000, 4_500, 5_000], pssMb: 600 },
}

const find = (of: ClonesOfN, pattern: RegExp) => figuresOf(of).find(({ name }) => pattern.test(name))

t.test(
  "at 50 the goals are judged: against the limit without Slurm's part, against the script, and a clone's memory",
  (t) => {
    t.match(find(of50, /all answered/), { value: 15, baseline: 10, ratio: 1.5, goal: 15, met: true })
    t.match(find({ ...of50, plainMs: 999 }, /all answered/), { met: false })
    t.match(find(of50, /plain script$/), { value: 15, goal: 15, met: true })
    t.match(find(of50, /memory of each/), { value: 70, baseline: 40, goal: 70, met: true })
    t.end()
  },
)

t.test('at other numbers they are only information', (t) => {
  t.strictSame(
    figuresOf({ ...of50, n: 10 }).filter(({ met }) => met !== null),
    [],
  )
  t.end()
})

t.test('what was measured with fewer is extrapolated, and says so', (t) => {
  t.equal(extrapolate(12, 3, 50), 200)
  t.match(find(of50, /script, extrapolated from 3/), { value: 225 })
  t.match(find(of50, /boots through vmrm, .* extrapolated from 10/), { value: 150 })
  t.match(find({ ...of50, n: 10 }, /boots through vmrm, beyond plain Slurm$/), { value: 30 })
  t.match(find({ ...of50, n: 1 }, /: the plain script$/), { value: 4 })
  t.end()
})

t.test('memory is not extrapolated: VMs of an image share some, so it is told of how many it is', (t) => {
  t.match(find(of50, /memory of a boot .*, each of 10$/), { value: 150 })
  t.match(find(of50, /memory of a VM of the plain script .*, each of 3$/), { value: 200 })
  t.match(find({ ...of50, n: 10 }, /memory of a boot \(PSS\)$/), { value: 150 })
  t.end()
})

t.test('the middle sample keeps its other figures', (t) => {
  const samples = [3, 1, 4, 2].map((ms) => ({ ms }))
  t.equal(
    middle(samples, ({ ms }) => ms),
    samples[0],
  )
  t.end()
})

t.test('work in turn has its bound, and ends with the first failure', async (t) => {
  let [under, most] = [0, 0]
  const done: number[] = []
  const work = async (thing: number) => {
    most = Math.max(most, ++under)
    await new Promise((resolve) => setImmediate(resolve))
    under--
    if (thing === 5) throw new Error('five')
    done.push(thing)
  }
  await inTurn([1, 2, 3, 4], 2, work)
  t.strictSame([most, done], [2, [1, 2, 3, 4]])
  await t.rejects(inTurn([5, 6, 7, 8], 2, work), { message: 'five' })
  t.notOk(done.includes(8))
})

t.test('CPU time is read behind a name with blanks and brackets', (t) => {
  t.equal(ticksOf(`7 (qemu) (x) S ${'0 '.repeat(10)}1 20 300 4000 20 0`), 4321)
  t.equal(ticksOf(''), 0)
  t.end()
})
