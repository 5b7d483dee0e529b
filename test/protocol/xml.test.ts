// The XML layer: what it refuses and how it says so, what gets through unchanged, and that it survives anything.
import t from 'tap'
import { z } from 'zod'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { knownEnvelope, readBody, readEnvelope, writeMessage } from '../../lib/protocol/envelope.ts'
import { frameLimitBytes } from '../../lib/protocol/limits.ts'
import { checkFields } from '../../lib/protocol/schema/check.ts'
import { bytes, list, text } from '../../lib/protocol/schema/fields.ts'
import { readElement, writeElement } from '../../lib/protocol/schema/map.ts'
import { elementShape } from '../../lib/protocol/schema/shape.ts'
import { parseXml } from '../../lib/protocol/xml/parse.ts'
import { createRandom } from '../support/random.ts'

const parse = (xml: string | Uint8Array) => parseXml(typeof xml === 'string' ? Buffer.from(xml) : xml)

const sample = z.strictObject({
  perNode: z.int(),
  big: z.bigint().optional(),
  flag: z.boolean(),
  colour: z.enum(['red', 'green']),
  path: bytes(16).optional(),
  inner: z.strictObject({ note: text(z.string()) }).optional(),
  words: list('word', z.string(), 3),
})
const shape = elementShape(sample)
const read = (xml: string) => checkFields(sample, readElement(shape, parse(xml), 'm'), 'm')
const good = '<m per-node="-3" flag="true" colour="red"><word>a</word></m>'

t.test('scalars, bytes, objects, lists and texts are read strictly and written back the same', async (t) => {
  t.same(read(good), { perNode: -3, flag: true, colour: 'red', words: ['a'] })
  const values = {
    perNode: Number.MAX_SAFE_INTEGER,
    big: -(2n ** 70n),
    flag: false,
    colour: 'green',
    path: new Uint8Array([0, 255, 10, 13]),
    inner: { note: ' \t\r\n<&]]>"\' 𝔘\n' },
    words: ['', ' ', '\n\r\t'],
  }
  t.same(read(writeElement({ name: 'm', shape, value: values, where: 'm' })), values)
})

const refused: [string, string, RegExp][] = [
  [
    'an unknown attribute, naming the nearest',
    good.replace('per-node', 'perNode'),
    /unknown attribute perNode; did you mean per-node\?/,
  ],
  [
    'an unknown element, naming the nearest',
    good.replaceAll('word', 'wort'),
    /unknown element wort; did you mean word\?/,
  ],
  ['a missing attribute', good.replace(' flag="true"', ''), /attribute flag is missing/],
  ['an element twice', good.replace('<word>', '<inner>a</inner><inner>b</inner><word>'), /inner stands there twice/],
  ['a list that is too long', good.replace('<word>a</word>', '<word/>'.repeat(4)), /words/],
  ['a fraction', good.replace('-3', '3.0'), /"3\.0" is not an integer/],
  ['an exponent', good.replace('-3', '1e3'), /not an integer/],
  ['a hexadecimal number', good.replace('-3', '0x10'), /not an integer/],
  ['an unsafe integer', good.replace('-3', '9007199254740993'), /not an integer/],
  ['minus zero', good.replace('-3', '-0'), /not an integer/],
  ['a number with a space', good.replace('-3', ' 3'), /not an integer/],
  ['a truth value in capitals', good.replace('"true"', '"TRUE"'), /neither true nor false/],
  ['a truth value as a number', good.replace('"true"', '"1"'), /neither true nor false/],
  ['an unknown choice', good.replace('red', 'blue'), /colour/],
  ['base64 with stray bits', good.replace('<m', '<m path="AB=="'), /not base64/],
  ['base64 with a line break', good.replace('<m', '<m path="AAAA&#10;"'), /not base64/],
  ['too many bytes', good.replace('<m', `<m path="${'AAAA'.repeat(10)}"`), /at most 16 bytes/],
  ['text beside elements', good.replace('<word>', 'text<word>'), /text stands beside elements/],
  ['text where none belongs', good.replace('<word>a</word>', 'text'), /text where none belongs/],
  ['an attribute on a plain list item', good.replace('<word>', '<word x="1">'), /unknown attribute x/],
  ['an attribute twice', good.replace('<m', '<m flag="true"'), /attribute flag twice/],
  ['a DTD', `<!DOCTYPE m [<!ENTITY a "b">]>${good}`, /DTDs/],
  ['an entity bomb', `<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>${good.replace('>a<', '>&b;<')}`, /DTDs/],
  ['an entity of HTML', good.replace('>a<', '>&nbsp;<'), /references are known/],
  ['a bare ampersand', good.replace('>a<', '>a & b<'), /references are known/],
  ['a reference to NUL', good.replace('>a<', '>&#0;<'), /U\+0000/],
  ['a reference to half a character', good.replace('>a<', '>&#xD800;<'), /U\+D800/],
  ['a reference beyond Unicode', good.replace('>a<', '>&#x110000;<'), /no character/],
  ['NUL itself', good.replace('>a<', '>\0<'), /U\+0000/],
  ['an escape character', good.replace('>a<', '>\u001b<'), /U\+001B/],
  ['a comment', good.replace('>a<', '><!-- a --><'), /comments/],
  ['CDATA', good.replace('>a<', '><![CDATA[a]]><'), /CDATA/],
  ['a processing instruction', good.replace('>a<', '><?php ?><'), /processing instructions/],
  ['another version of XML', `<?xml version="1.1"?>${good}`, /is no tag/],
  ['another encoding', `<?xml version="1.0" encoding="UTF-16"?>${good}`, /is no tag/],
  ['a declaration that is not first', ` <?xml version="1.0"?>${good}`, /is no tag/],
  ['a tag that is not closed', good.slice(0, -4), /not closed/],
  ['tags that overlap', '<m><a><b></a></b></m>', /<\/a> ends <b>/],
  ['a closing tag alone', '</m>', /ends <undefined>/],
  ['two roots', good + good, /more than one root/],
  ['text after the root', `${good}x`, /outside the root/],
  ['an attribute without quotes', '<m a=b/>', /malformed/],
  ['an attribute without a value', '<m a/>', /malformed/],
  ['attributes without a space', '<m a="1"b="2"/>', /malformed/],
  ['a less-than sign in an attribute', '<m a="<"/>', /malformed/],
  ['nesting 17 deep', '<m>'.repeat(17) + '</m>'.repeat(17), /nested more than 16/],
  ['a name that is no name of ours', '<m __proto__="1"/>', /malformed/],
  ["a name of JavaScript's own", good.replace('<m', '<m constructor="1"'), /constructor/],
  ['nothing', '', /no element/],
  ['white space', ' \n', /no element/],
]
t.test('what does not follow the protocol is refused, naming place and problem', async (t) => {
  for (const [name, xml, message] of refused) t.throws(() => read(xml), { code: 'message-invalid', message }, name)
  t.throws(() => parse(Buffer.from([0x3c, 0x6d, 0xff, 0x2f, 0x3e])), { message: /not UTF-8/ })
  t.throws(() => parse(Buffer.alloc(frameLimitBytes + 1, 0x20)), { message: /more than 524288/ })
})

t.test('what XML leaves open is read as XML says', async (t) => {
  t.equal(parse('<m a="x\ny\tz"/>').attributes.get('a'), 'x y z', 'white space in attributes is a space')
  t.equal(parse('<m a="&#10;&#x9;&#13;"/>').attributes.get('a'), '\n\t\r', 'unless it is a reference')
  t.equal(parse('<m>a\r\nb\rc&#13;</m>').text, 'a\nb\nc\r', 'line ends are one character')
  t.equal(parse('<m a="&amp;lt;&apos;&quot;"/>').attributes.get('a'), '&lt;\'"', 'references are replaced once')
  t.equal(parse("<?xml version='1.0' encoding='UTF-8'?>\n<m a = 'q\"' ></m>\n").attributes.get('a'), 'q"')
})

t.test('values that XML cannot carry are refused when they are written', async (t) => {
  const write = (reason: string) =>
    writeMessage({ id: 1, kind: 'reply', type: 'node-end' }, { outcome: 'left', reason })
  for (const [value, name] of [
    ['\0', 'U\\+0000'],
    ['a\u001b[0m', 'U\\+001B'],
    ['\uD800', 'U\\+D800'],
    ['\uFFFE', 'U\\+FFFE'],
  ] as const) {
    t.throws(() => write(value), { code: 'message-invalid', message: new RegExp(`@reason: the character ${name}`) })
  }
})

t.test('a schema that has no layout stops the program where it is defined', async (t) => {
  const cases: [string, z.ZodObject][] = [
    ['a fraction', z.strictObject({ a: z.number() })],
    ['an array without a name', z.strictObject({ a: z.array(z.string()) })],
    ['two texts', z.strictObject({ a: text(z.string()), b: text(z.string()) })],
    ['text and children', z.strictObject({ a: text(z.string()), b: list('b', z.string()) })],
    ['two lists of one name', z.strictObject({ a: list('x', z.string()), b: list('x', z.string()) })],
    ['a union', z.strictObject({ a: z.union([z.string(), z.int()]) })],
  ]
  for (const [name, schema] of cases) t.throws(() => elementShape(schema), { name: 'AssertionError' }, name)
})

t.test('random texts survive the way through XML', async (t) => {
  const { seed, int, pick } = createRandom()
  t.comment(`seed ${seed}`)
  const changed: string[] = []
  const alphabet = [...'ab \t\n\r<>&"\'];[!-', 'ü', '𝔘', '\uFFFD', '\u0085', '\u2028']
  for (let round = 0; round < 500; round += 1) {
    const reason = Array.from({ length: int(40) }, () => pick(alphabet)).join('')
    const xml = writeMessage({ id: 1, kind: 'reply', type: 'node-end' }, { outcome: 'left', reason })
    const root = parse(xml)
    const body = readBody(root, knownEnvelope(readEnvelope(root))) as { reason: string }
    const shown = writeMessage({ id: 1, kind: 'reply', type: 'show-image' }, { xml: reason })
    const shownRoot = parse(shown)
    const shownBody = readBody(shownRoot, knownEnvelope(readEnvelope(shownRoot))) as { xml: string }
    if (body.reason !== reason || shownBody.xml !== reason) changed.push(reason)
  }
  t.same(changed, [])
})

t.test('mutated documents are read or refused with message-invalid, never anything else', async (t) => {
  const { seed, int, pick } = createRandom()
  t.comment(`seed ${seed}`)
  const pieces = [
    '<',
    '>',
    '"',
    "'",
    '&',
    ';',
    '/',
    '=',
    ' ',
    '\0',
    '<!',
    '<?',
    ']]>',
    '<![CDATA[',
    '&#',
    '&#x;',
    'a',
    '<a',
    '</a>',
    '\xff',
    '__proto__',
    ':@',
    '#text',
  ]
  const start = '<vmrm version="1" id="7" kind="request" type="subscribe" job="3"><event>run-state</event></vmrm>'
  let accepted = 0
  for (let round = 0; round < 20_000; round += 1) {
    let xml = start
    for (let change = 0; change <= int(3); change += 1) {
      const at = int(xml.length)
      xml = xml.slice(0, at) + (int(2) === 0 ? pick(pieces) : '') + xml.slice(at + int(4))
    }
    try {
      const root = parse(Buffer.from(xml, int(2) === 0 ? 'utf8' : 'latin1'))
      readBody(root, knownEnvelope(readEnvelope(root)))
      accepted += 1
    } catch (error) {
      if (!(error instanceof VmrmError) || error.code !== 'message-invalid') {
        t.fail(`${JSON.stringify(xml)}: ${error}`)
        return
      }
    }
  }
  t.ok(accepted > 0 && accepted < 20_000, `${accepted} were still valid`)
})

t.test('the largest documents take a bounded time', async (t) => {
  const fill = (unit: string, around: [string, string]) =>
    around[0] + unit.repeat(Math.floor((frameLimitBytes - 100) / unit.length)) + around[1]
  const cases: [string, string][] = [
    ['elements', fill('<a/>', ['<m>', '</m>'])],
    ['attributes', `<m${Array.from({ length: 40_000 }, (_, index) => ` a${index}=""`).join('')}/>`],
    ['references', fill('&lt;', ['<m>', '</m>'])],
    ['an open tag', fill(' ', ['<m', ''])],
    ['spaces before an equals sign', fill(' ', ['<m a', ''])],
    ['an open attribute', fill('a', ['<m a="', ''])],
    ['less-than signs', fill('<', ['', ''])],
    ['text', fill('a', ['<m>', '</m>'])],
    ['ampersands', fill('&', ['<m>', '</m>'])],
  ]
  for (const [name, xml] of cases) {
    const started = performance.now()
    try {
      parse(xml)
    } catch (error) {
      if (!(error instanceof VmrmError)) throw error
    }
    const ms = Math.round(performance.now() - started)
    t.ok(ms < 3_000, `${name}: ${ms} ms`)
  }
})
