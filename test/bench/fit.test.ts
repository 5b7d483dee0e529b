import t from 'tap'
import { exponentOf } from './fit.ts'

t.test('the exponent of a power law is found, whatever its factor', async (t) => {
  for (const exponent of [0.5, 1, 2]) {
    const points = [1000, 4000, 32_000].map((size) => ({ size, cost: 7 * size ** exponent }))
    t.ok(Math.abs(exponentOf(points) - exponent) < 1e-9, String(exponent))
  }
  t.ok(exponentOf([10, 100, 1000].map((size) => ({ size, cost: 50 + size }))) < 1, 'a fixed part lowers it')
  t.ok(Number.isNaN(exponentOf([{ size: 5, cost: 1 }])))
})
