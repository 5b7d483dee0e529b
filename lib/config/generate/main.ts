// Writes docs/reference/configuration.md and the manual pages of section 5. Run it after changing a schema or a
// description; a test compares the files with what it makes.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { configurationPage, manPages } from './pages.ts'

const docs = join(import.meta.dirname, '../../../docs')
for (const folder of ['reference', 'man']) mkdirSync(join(docs, folder), { recursive: true })
writeFileSync(join(docs, 'reference/configuration.md'), configurationPage())
for (const [name, text] of manPages) writeFileSync(join(docs, 'man', name), text)
