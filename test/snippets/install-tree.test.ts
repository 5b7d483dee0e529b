// What `npm run install-tree` lays out holds every file of ours that units and snippets name. Needs build/, as `npm test` makes it.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'

t.setTimeout(60_000)
const root = join(import.meta.dirname, '../..')
const snippets = join(root, 'slurm-conf-snippets')
const destination = mkdtempSync(join(tmpdir(), 'vmrm-install-tree-'))
t.teardown(() => rmSync(destination, { recursive: true, force: true }))
await execa('bash', [join(root, '.ci/install-tree'), destination])

const files = readdirSync(snippets, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))

t.test('every path below /usr/lib/vmrm that a snippet or a unit names is there', async (t) => {
  const named = new Map<string, string>()
  for (const file of files)
    for (const [path] of readFileSync(file, 'utf8').matchAll(/\/usr\/lib\/vmrm\/[\w.-]+(?:\/[\w.-]*\w)?/g)) {
      // A sentence may end with it.
      named.set(path.replace(/\.$/, ''), file)
    }
  t.ok(named.size >= 7)
  for (const [path, file] of named)
    t.ok(statSync(join(destination, path), { throwIfNoEntry: false }), `${path}, ${file}`)
})

t.test('programs can be run, and links lead somewhere', async (t) => {
  for (const folder of ['usr/lib/vmrm', 'usr/lib/vmrm/gate', 'usr/bin'])
    for (const name of readdirSync(join(destination, folder)).filter((each) => !each.endsWith('.iso')))
      t.equal(statSync(join(destination, folder, name)).mode & 0o111, 0o111, `${folder}/${name}`)
})

t.test('every snippet is among the documentation, every unit where systemd looks', async (t) => {
  for (const file of files) {
    const name = file.slice(snippets.length + 1)
    if (/^job_submit\/(vmrm|job|choice|size)\.lua$/.test(name)) continue
    const place = name.startsWith('systemd/')
      ? `usr/lib/${name.replace('systemd', 'systemd/system')}`
      : `usr/share/doc/vmrm/${name}`
    t.same(readFileSync(join(destination, place)), readFileSync(file), place)
  }
})

t.test('nothing is put into /etc but the empty folder of the catalogue', async (t) => {
  t.same(readdirSync(join(destination, 'etc'), { recursive: true }).sort(), ['vmrm', 'vmrm/images.d'])
})
