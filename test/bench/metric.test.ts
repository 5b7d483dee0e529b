import t from 'tap'
import { judge, median, renderTable } from './metric.ts'

t.test('a median is the middle, or the mean of the two in the middle', (t) => {
  t.equal(median([9, 1, 5]), 5)
  t.equal(median([4, 1, 3, 2]), 2.5)
  t.throws(() => median([]), RangeError)
  t.end()
})

const goals = [
  ['a time just below its goal', { bound: 'at-most', value: 10 }, 9.999999, true],
  ['a time just above its goal, which rounds to it', { bound: 'at-most', value: 10 }, 10.00001, false],
  ['a rate at its goal', { bound: 'at-least', value: 10 }, 10, true],
  ['a rate below its goal', { bound: 'at-least', value: 10 }, 9.9, false],
] as const

for (const [name, goal, value, met] of goals) {
  t.test(`${name} is ${met ? '' : 'not '}met`, (t) => {
    t.equal(judge({ name, unit: 'x', value, goal }).met, met)
    t.end()
  })
}

t.test('every key is there, also where there is nothing to compare with', (t) => {
  const metric = judge({ name: 'a', unit: 'ms', value: 1.23456 })
  t.strictSame(metric, { name: 'a', value: 1.235, unit: 'ms', baseline: null, ratio: null, goal: null, met: null })
  t.equal(judge({ name: 'a', unit: 'ms', value: 3, baseline: 2 }).ratio, 1.5)
  t.end()
})

t.test('the table says of each goal whether it is met', (t) => {
  const goal = { bound: 'at-most', value: 1 } as const
  const table = renderTable([
    judge({ name: 'slow', unit: 'ms', value: 2, goal }),
    judge({ name: 'free', unit: 'ms', value: 2 }),
  ])
  t.match(table, /^slow +2 +ms +1 +NO$/m)
  t.match(table, /^free +2 +ms$/m)
  t.end()
})
