// Writes docs/reference/protocol.{rng,md}. Run it after changing a message; a test compares the files with what it makes.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { protocolPage } from './markdown.ts'
import { relaxNg } from './relax-ng.ts'

const folder = join(import.meta.dirname, '../../../docs/reference')
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, 'protocol.rng'), relaxNg())
writeFileSync(join(folder, 'protocol.md'), protocolPage())
