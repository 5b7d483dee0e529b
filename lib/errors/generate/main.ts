// Writes docs/reference/errors.md. Run it after changing the catalogue; a test compares the file with what it makes.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorsPage } from './markdown.ts'

const folder = join(import.meta.dirname, '../../../docs/reference')
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, 'errors.md'), errorsPage())
