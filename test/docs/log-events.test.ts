// The reference of log events has every event that the code logs above `debug`, with its level, and no other.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '../..')

/** Who logs an event whose name it is given; its callers' names are found by how they give it. */
const givenNames = [
  'lib/daemon/controller/messenger.ts',
  'lib/daemon/node/runs/run-recovery.ts',
  'lib/daemon/repeat-every.ts',
]

const sources = ['lib', 'hooks'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ path: `${folder}/${name}`, text: readFileSync(join(root, folder, name), 'utf8') })),
)

function eventsIn(text: string): string[] {
  const found: string[] = []
  const add = (pattern: RegExp, name: (groups: Record<string, string>) => string[]) => {
    for (const { groups = {} } of text.matchAll(pattern)) found.push(...name(groups as Record<string, string>))
  }
  add(/\blog\??\.(?<level>error|warn|info)\(\s*'(?<event>[^']+)'/gi, ({ level, event }) => [`${event} ${level}`])
  // The level is chosen: those two that are chosen from anywhere.
  add(/\blog\[[^\]]+\]\(\s*'(?<event>[^']+)'/gi, ({ event }) => [`${event} error`, `${event} info`])
  add(/\b(?:inBackground\(|event: )'(?<event>[^']+)'/g, ({ event }) => [`${event} warn`])
  add(/\bfailed\('(?<event>[^']+)'\)/g, ({ event }) => [`${event} error`])
  return found
}

function eventsOfPage(): string[] {
  const page = readFileSync(join(root, 'docs/reference/log-events.md'), 'utf8')
  const namesIn = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)
  let level = ''
  return page.split('\n').flatMap((line) => {
    if (line.startsWith('## ')) level = line === '## What happened' ? 'info' : ''
    const [, events, levels] = line.split('|')
    if (!line.startsWith('| `')) return []
    return namesIn(events).flatMap((event) =>
      (level === '' ? namesIn(levels) : [level]).map((each) => `${event} ${each}`),
    )
  })
}

t.test('every event that is logged is in the reference, with its level, and every one there is logged', async (t) => {
  const logged = new Set(sources.flatMap(({ text }) => eventsIn(text)))
  const told = eventsOfPage()
  t.same(
    [...logged].filter((event) => !told.includes(event)),
    [],
    'events that docs/reference/log-events.md does not have',
  )
  t.same(
    told.filter((event) => !logged.has(event)),
    [],
    'events of that page that nobody logs',
  )
  t.same(new Set(told).size, told.length, 'each is there once')
})

t.test('no event has a name that this test cannot see', async (t) => {
  const isGiven = ({ text }: { text: string }) => /\blog\??(?:\.(?:error|warn|info)|\[[^\]]+\])\(\s*[^'\s]/i.test(text)
  t.same(
    sources
      .filter(isGiven)
      .map(({ path }) => path)
      .toSorted(),
    givenNames,
  )
})
