// Which pieces of a range are taken: in a row where that is possible, else as few as may be. No ledger takes part.
import t from 'tap'
import { choosePieces } from '../../../lib/daemon/controller/ledger/choose-pieces.ts'

/** One character a member: `.` is free. */
const choose = (range: string, wanted: number, from = 0) =>
  choosePieces({ size: range.length, from, wanted, isFree: (index) => range[index] === '.' }).map(
    ({ first, length }) => `${first}+${length}`,
  )

t.test('members that follow each other are taken where there are enough of them', (t) => {
  for (const [range, wanted, from, expected] of [
    ['........', 3, 0, ['0+3']],
    ['.x..x...', 1, 0, ['0+1']],
    ['.x..x...', 2, 0, ['2+2']],
    ['.x..x...', 3, 0, ['5+3']],
    ['........', 3, 4, ['4+3']],
    ['......x.', 3, 5, ['0+3']],
    // Nothing follows the last one.
    ['..xxx...', 4, 5, ['5+3', '0+1']],
    ['.x..x...', 4, 0, ['2+1', '5+3']],
    ['.x..x...', 5, 3, ['3+1', '5+3', '0+1']],
    ['.x..x...', 6, 0, ['0+1', '2+2', '5+3']],
  ] as const) {
    t.same(choose(range, wanted, from), expected, `${wanted} of ${range} from ${from}`)
  }
  t.end()
})

t.test('of a range with too few it says how many there are', (t) => {
  t.same(choose('.x..x...', 7), ['0+1', '2+2', '5+3'])
  t.same(choose('xxx', 1), [])
  t.end()
})

t.test('as few pieces as can be, the longest first, in the order of the range', (t) => {
  t.same(choose('.x.x...x.x..x.', 5), ['4+3', '10+2'])
  t.same(choose('..x...x....x.', 6), ['3+2', '7+4'])
  t.end()
})
