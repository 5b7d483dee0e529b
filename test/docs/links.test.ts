// Every link and every path in backticks that the documentation has leads somewhere in this tree.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '../..')
const skipped = new Set(['node_modules', 'build', '.git', '.tap'])

function pagesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (skipped.has(entry.name)) return []
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return pagesBelow(path)
    return entry.name.endsWith('.md') ? [path] : []
  })
}

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, '')

/** Anchors as GitHub makes them from headings. */
function anchorsOf(text: string): Set<string> {
  const headings = [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title)
  return new Set(
    headings.map((title) =>
      title
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/\s/g, '-'),
    ),
  )
}

interface Link {
  readonly target: string
  readonly anchor: string
}

/** Relative links only: what is elsewhere may be down without fault of ours. */
function linksOf(text: string): Link[] {
  const inline = [
    ...withoutCode(text)
      .replace(/`[^`\n]*`/g, '')
      .matchAll(/\]\(([^()\s]+)\)/g),
  ].map(([, target = '']) => target)
  return inline
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [path = '', anchor = ''] = target.split('#')
      return { target: path, anchor }
    })
}

/** Folders and files at the top of the tree: what starts with one of them and a slash is meant as a path of it. */
const tops = 'hooks|lib|test|docs|slurm-conf-snippets|\\.ci'
const pathPattern = new RegExp(`^(?:${tops})/[\\w./{},*-]*$`)

function expandBraces(path: string): string[] {
  const match = /^(.*?)\{([^{}]*)\}(.*)$/.exec(path)
  if (match === null) return [path]
  const [, before = '', choices = '', after = ''] = match
  return choices.split(',').flatMap((choice) => expandBraces(`${before}${choice}${after}`))
}

/** Paths of the tree in backticks; the first word, since commands have arguments. Patterns count as their folder. */
function pathsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/`([^`\n]+)`/g)]
    .map(([, code = '']) => code.split(/\s/)[0] ?? '')
    .filter((code) => pathPattern.test(code))
    .flatMap(expandBraces)
    .map((path) => path.replace(/[^/]*\*.*$/, ''))
}

/** Pages that stand in a folder may name what lies beside them; names of packages and hosts are no paths. */
function isThere(page: string, path: string): boolean {
  return existsSync(join(root, path)) || existsSync(join(dirname(page), path))
}

const pages = pagesBelow(root)

t.test('there are pages to check, README.md among them', async (t) => {
  t.ok(pages.includes(join(root, 'README.md')))
  t.ok(pages.length > 5)
})

for (const page of pages) {
  t.test(`${relative(root, page)} names only what is there`, async (t) => {
    const text = readFileSync(page, 'utf8')
    for (const { target, anchor } of linksOf(text)) {
      const path = target === '' ? page : join(dirname(page), target)
      if (!t.ok(existsSync(path), `link to ${target}`) || anchor === '') continue
      t.ok(anchorsOf(readFileSync(path, 'utf8')).has(anchor), `link to ${target}#${anchor}`)
    }
    for (const path of pathsOf(text)) t.ok(isThere(page, path), `path ${path}`)
  })
}

t.test('the checks see what is wrong', async (t) => {
  const text = ['# Real one', '[a](nowhere.md) [b](#real-one) [c](https://example.org/x)', '`lib/none.ts`'].join('\n')
  t.same(linksOf(text), [
    { target: 'nowhere.md', anchor: '' },
    { target: '', anchor: 'real-one' },
  ])
  t.same([...anchorsOf('# A `b` c: d\n## It is – so')], ['a-b-c-d', 'it-is--so'])
  t.same(pathsOf(`${text} \`lib/{a,b}.ts x\` \`lib/x/*.ts\``), ['lib/none.ts', 'lib/a.ts', 'lib/b.ts', 'lib/x/'])
  t.notOk(isThere(join(root, 'README.md'), 'lib/none.ts'))
})
