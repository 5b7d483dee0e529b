// The XML that the documentation shows is what the daemons accept.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadDaemonConfig, loadImage } from '../../lib/config/load.ts'
import { parseSiteFragment } from '../../lib/vm/site-fragment.ts'

const docs = join(import.meta.dirname, '../../docs')
const scratch = mkdtempSync(join(tmpdir(), 'vmrm-doc-examples-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))

/** Whole documents with this root element among the page's code blocks. */
function examples(page: string, root: string): readonly string[] {
  const blocks = [...readFileSync(join(docs, page), 'utf8').matchAll(/^```xml\n([\s\S]*?)^```$/gm)]
  return blocks.map(([, text = '']) => text).filter((text) => text.startsWith(`<${root} `))
}

t.test("the image of docs/images.md is a catalogue entry, and its fragment is libvirt's", async (t) => {
  const [text = '', ...others] = examples('images.md', 'image')
  t.same(others, [])
  const path = join(scratch, 'mydebian.xml')
  writeFileSync(path, text)
  const image = loadImage(path)
  t.equal(image.mounts.entries.length, 2)
  t.same(image.access.groups, [{ name: 'chemists' }])
  t.same([...parseSiteFragment(image.domain ?? '').elements.keys()], ['memoryBacking'])
})

t.test('the small vmrmd.xml of docs/administrators.md is a configuration', async (t) => {
  const [text = '', ...others] = examples('administrators.md', 'vmrmd')
  t.same(others, [])
  const path = join(scratch, 'vmrmd.xml')
  writeFileSync(path, text)
  t.equal(loadDaemonConfig(path).nfs.server, 'ganesha')
})
