// The committed reference is what the definitions say, and the RELAX NG grammar agrees with the parser.
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import {
  type Envelope,
  knownEnvelope,
  readBody,
  readEnvelope,
  writeError,
  writeMessage,
} from '../../lib/protocol/envelope.ts'
import { protocolPage } from '../../lib/protocol/generate/markdown.ts'
import { relaxNg } from '../../lib/protocol/generate/relax-ng.ts'
import { messages } from '../../lib/protocol/messages.ts'
import { parseXml } from '../../lib/protocol/xml/parse.ts'
import { examples } from '../support/protocol/examples.ts'
import { scratch } from '../support/protocol/fixtures.ts'

const reference = join(import.meta.dirname, '../../docs/reference')

function envelopes(): Envelope[] {
  return Object.entries(messages).flatMap(([type, definition]) => {
    const kinds = definition.kind === 'event' ? (['event'] as const) : (['request', 'reply'] as const)
    return kinds.map((kind) => ({ id: 7, kind, type: type as Envelope['type'] }))
  })
}

/** The names of those documents that the grammar refuses. */
function refusedByGrammar(t: Test, documents: ReadonlyMap<string, string>): string[] {
  const folder = scratch(t)
  const files = [...documents].map(([name, xml], index) => {
    const file = join(folder, `${index}.xml`)
    writeFileSync(file, xml)
    return { name, file }
  })
  writeFileSync(join(folder, 'protocol.rng'), relaxNg())
  const argv = ['--noout', '--relaxng', join(folder, 'protocol.rng'), ...files.map(({ file }) => file)]
  const { stderr } = spawnSync('/usr/bin/xmllint', argv, { encoding: 'utf8', timeout: 30_000 })
  return files.filter(({ file }) => !stderr.includes(`${file} validates`)).map(({ name }) => name)
}

t.test('the committed reference is up to date (else run lib/protocol/generate/main.ts)', async (t) => {
  t.equal(readFileSync(join(reference, 'protocol.rng'), 'utf8'), relaxNg())
  t.equal(readFileSync(join(reference, 'protocol.md'), 'utf8'), protocolPage())
})

t.test('every message has an example that survives the way through XML and validates', async (t) => {
  const documents = new Map<string, string>()
  for (const envelope of envelopes()) {
    const name = `${envelope.type} ${envelope.kind}`
    const example = examples[name]
    t.ok(example, `${name} has an example`)
    const xml = writeMessage(envelope, example)
    const root = parseXml(Buffer.from(xml))
    t.same(knownEnvelope(readEnvelope(root)), envelope)
    const body = readBody(root, envelope)
    t.same(body, example, `${name} is the same after the way through XML`)
    t.ok(Object.isFrozen(body))
    documents.set(name, xml)
  }
  const error = new VmrmError('image-unknown', 'a\nb <c> "d"', { quoted: 'x\n  y\n' })
  documents.set('an error', writeError({ id: 7, type: 'run-end' }, error))
  t.same(refusedByGrammar(t, documents), [])
})

t.test('what the parser refuses the grammar refuses too', async (t) => {
  const good = '<vmrm version="1" id="7" kind="request" type="run-end" job="1" restart="0"/>'
  const bad = new Map([
    ['another version', good.replace('version="1"', 'version="2"')],
    ['an unknown type', good.replace('run-end', 'run-ends')],
    ['an attribute missing', good.replace(' restart="0"', '')],
    ['an attribute too many', good.replace('/>', ' more="1"/>')],
    ['an element too many', good.replace('/>', '><more/></vmrm>')],
    ['a number too small', good.replace('job="1"', 'job="0"')],
    ['a number too large', good.replace('job="1"', 'job="4294967296"')],
    ['a number with a leading zero', good.replace('job="1"', 'job="01"')],
    ['no number', good.replace('job="1"', 'job="x"')],
    ['an empty number', good.replace('job="1"', 'job=""')],
    ['text where none belongs', good.replace('/>', '>text</vmrm>')],
    ['another root', good.replace('vmrm', 'vm')],
  ])
  for (const [name, xml] of bad) {
    t.throws(
      () => {
        const root = parseXml(Buffer.from(xml))
        readBody(root, knownEnvelope(readEnvelope(root)))
      },
      { code: 'message-invalid' },
      name,
    )
  }
  t.same(refusedByGrammar(t, bad), [...bad.keys()])
  t.same(refusedByGrammar(t, new Map([['good', good]])), [])
})

t.test('xmllint reads the same values from our documents', async (t) => {
  const value = 'tab\t, line\n, return\r, <&>"\' and  spaces '
  const xml = writeMessage({ id: 1, kind: 'reply', type: 'node-end' }, { outcome: 'left', reason: value })
  const file = join(scratch(t), 'x.xml')
  writeFileSync(file, xml)
  const argv = ['--xpath', 'string(/vmrm/@reason)', file]
  t.equal(execFileSync('/usr/bin/xmllint', argv, { encoding: 'utf8', timeout: 10_000 }), `${value}\n`)
})
