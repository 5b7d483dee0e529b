import t from 'tap'
import { chooseEvictions, type Evictable } from '../../../lib/image/template/eviction.ts'

const template = (key: string, usedMs: number, state: Evictable['state'] = 'fresh', bytes = 10): Evictable => ({
  ...{ key, usedMs, state, bytes },
})

for (const [what, templates, roomBytes, gone] of [
  ['nothing goes while there is room', [template('a', 1), template('b', 2)], 20, []],
  ['the least recently used goes first', [template('a', 3), template('b', 1), template('c', 2)], 10, ['b', 'c']],
  ['no more go than must', [template('a', 1), template('b', 2), template('c', 3)], 29, ['a']],
  ['a stale one goes before one that is older', [template('a', 1), template('b', 9, 'stale')], 10, ['b']],
  ['of stale ones the oldest', [template('a', 5, 'stale'), template('b', 4, 'stale')], 10, ['b']],
  ['what is held stays', [template('a', 1, 'held'), template('b', 2)], 10, ['b']],
  ['what is held stays even when there is no room at all', [template('a', 1, 'held', 99)], 10, []],
  ['a limit of nothing leaves nothing', [template('a', 1), template('b', 2, 'stale')], 0, ['b', 'a']],
] as const) {
  t.test(what, async (t) => t.same(chooseEvictions(templates, roomBytes), gone))
}
