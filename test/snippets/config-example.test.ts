// slurm-conf-snippets/vmrmd.xml is what it says: valid, complete, and with the defaults of the schema.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { daemonConfigSchema } from '../../lib/config/daemon-schema.ts'
import { loadDaemonConfig } from '../../lib/config/load.ts'

const path = join(import.meta.dirname, '../../slurm-conf-snippets/vmrmd.xml')
const example: Record<string, unknown> = loadDaemonConfig(path)

/** What a site must choose, as the example's head says. */
const chosen: Readonly<Record<string, readonly string[]>> = {
  cluster: ['name'],
  controller: ['host'],
  node: ['underlayDevice'],
  network: ['underlay'],
  nfs: ['server'],
}

t.test('all that is not a choice of the site has its default', (t) => {
  const defaults = daemonConfigSchema.parse({ version: '1', cluster: { name: 'any' }, controller: { host: 'any' } })
  for (const [section, values] of Object.entries(defaults)) {
    if (typeof values !== 'object') continue
    for (const [key, value] of Object.entries(values)) {
      if (chosen[section]?.includes(key)) continue
      t.same((example[section] as Record<string, unknown>)[key], value, `${section}/@${key}`)
    }
  }
  t.end()
})

t.test('every setting is there, or in a comment where it has no default', (t) => {
  const text = readFileSync(path, 'utf8')
  const sections: Record<string, unknown> = daemonConfigSchema.shape
  for (const [section, schema] of Object.entries(sections)) {
    for (const key of settingsOf(schema)) {
      const attribute = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
      t.match(text, new RegExp(`\\b${attribute}="`), `${section}/@${attribute}`)
    }
  }
  t.end()
})

interface AnySchema {
  readonly shape?: Readonly<Record<string, unknown>>
  readonly element?: unknown
  readonly def: { readonly innerType?: unknown; readonly type: string }
}

/** The attributes of a section, those of its list's items too, through the wrappers that give defaults. */
function settingsOf(schema: unknown): readonly string[] {
  const { shape, element, def } = schema as AnySchema
  const inner = element ?? def.innerType
  if (shape === undefined) return inner === undefined ? [] : settingsOf(inner)
  return Object.entries(shape).flatMap(([key, value]) => (isList(value) ? settingsOf(value) : [key]))
}

function isList(schema: unknown): boolean {
  const { def } = schema as AnySchema
  return def.type === 'array' || (def.innerType !== undefined && isList(def.innerType))
}
