// The committed reference pages and manual pages are what the schemas and the catalogue of errors say.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { daemonDescriptions } from '../../lib/config/generate/daemon-descriptions.ts'
import { imageDescriptions } from '../../lib/config/generate/image-descriptions.ts'
import {
  catalogueSettings,
  configurationPage,
  daemonSettings,
  examples,
  manPages,
} from '../../lib/config/generate/pages.ts'
import { loadDaemonConfig, loadImage } from '../../lib/config/load.ts'
import { errorsPage } from '../../lib/errors/generate/markdown.ts'

const docs = join(import.meta.dirname, '../../docs')
const pageOf = (name: string): string => readFileSync(join(docs, name), 'utf8')

t.test(
  'the committed pages are up to date (else run lib/config/generate/main.ts and lib/errors/generate/main.ts)',
  async (t) => {
    t.equal(pageOf('reference/configuration.md'), configurationPage())
    t.equal(pageOf('reference/errors.md'), errorsPage())
    for (const [name, text] of manPages) t.equal(pageOf(`man/${name}`), text, name)
  },
)

t.test('every setting has a description, and no description is of a setting that is gone', async (t) => {
  const names = (settings: readonly { path: string }[]) => settings.map(({ path }) => path).toSorted()
  t.same(Object.keys(daemonDescriptions).toSorted(), names(daemonSettings))
  t.same(Object.keys(imageDescriptions).toSorted(), names(catalogueSettings))
})

t.test('the examples of the manual pages are accepted', async (t) => {
  const folder = t.testdir({ 'vmrmd.xml': examples.vmrmd, 'debian12.xml': examples.debian12 })
  t.equal(loadDaemonConfig(join(folder, 'vmrmd.xml')).defaults.partitions[0]?.optOut, true)
  t.equal(loadImage(join(folder, 'debian12.xml')).boot.timeoutSeconds, 120)
})

t.test('man renders every page without a complaint, and those it refers to exist', async (t) => {
  const pages = readdirSync(join(docs, 'man'))
  t.ok(pages.length >= 5)
  for (const page of pages) {
    const argv = ['--warnings=w', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', join(docs, 'man', page)]
    const { exitCode, stderr } = await execa('/usr/bin/man', argv, {
      timeout: 30_000,
      reject: false,
      env: { MANWIDTH: '80' },
    })
    t.equal(exitCode, 0, page)
    t.equal(stderr, '', page)
    for (const [, name, section] of pageOf(`man/${page}`).matchAll(/^\.BR ((?:vmrm|images)\S*) \((\d)\)/gm))
      t.ok(existsSync(join(docs, 'man', `${name?.replaceAll('\\-', '-')}.${section}`)), `${page} refers to ${name}`)
  }
})

t.test('vmrm(1) tells of every command', async (t) => {
  const text = pageOf('man/vmrm.1').replaceAll('\\-', '-')
  for (const name of [
    'check-request',
    'doctor',
    'image list',
    'image show',
    'image check',
    'job-submit-table',
    'ps',
    'version',
  ])
    t.match(text, new RegExp(`^\\.B vmrm ${name}`, 'm'), name)
})
