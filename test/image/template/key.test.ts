import t from 'tap'
import {
  differingParts,
  filePart,
  isTemplateKey,
  type TemplateParts,
  templateKey,
  templatePartNames,
} from '../../../lib/image/template/key.ts'

const parts = Object.fromEntries(templatePartNames.map((name) => [name, `${name} as it is`])) as TemplateParts

t.test('every part alone makes another key, and is named as what differs', async (t) => {
  const keys = new Set([templateKey(parts)])
  for (const name of templatePartNames) {
    const other = { ...parts, [name]: `${name} as it was` }
    t.same(differingParts(parts, other), [name])
    keys.add(templateKey(other))
  }
  t.equal(keys.size, templatePartNames.length + 1)
  for (const key of keys) t.ok(isTemplateKey(key))
})

t.test('the key does not depend on the order of the parts, and no text can pass for two parts', async (t) => {
  const reversed = Object.fromEntries(Object.entries(parts).reverse()) as TemplateParts
  t.equal(templateKey(reversed), templateKey(parts))
  t.same(differingParts(parts, reversed), [])
  const one = { ...parts, vcpus: '1","memory', memory: '2' }
  const other = { ...parts, vcpus: '1', memory: 'memory","2' }
  t.not(templateKey(one), templateKey(other))
})

t.test('a file is its inode, size and time', async (t) => {
  const file = { path: '/m', inode: 1n, bytes: 2n, changedNs: 3n }
  const texts = [
    file,
    { ...file, path: '/n' },
    { ...file, inode: 9n },
    { ...file, bytes: 9n },
    { ...file, changedNs: 9n },
  ]
  t.equal(new Set([undefined, ...texts].map(filePart)).size, 6)
})

t.test('only what a key can be is taken for one', async (t) => {
  for (const text of ['', '..', '../../etc', 'abc', `${templateKey(parts)}0`, templateKey(parts).toUpperCase()])
    t.notOk(isTemplateKey(text), text)
})
