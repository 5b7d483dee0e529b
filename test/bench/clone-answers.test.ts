import { execFileSync } from 'node:child_process'
import t from 'tap'
import { type Answer, factsScript, parseAnswers, problemsOf } from './clone-answers.ts'

function answer(index: number): Answer {
  return {
    hostname: `tiny-000${index}`,
    address: `10.77.0.${index + 1}`,
    mac: `52:54:76:00:00:0${index}`,
    machineId: String(index).repeat(32),
    bytes: String(index + 4).repeat(32),
  }
}

const line = ({ hostname, mac, machineId, bytes, address }: Answer) =>
  `answer name=${hostname} mac=${mac} machine-id=${machineId} bytes= ${bytes.replace(/(..)/g, '$1 ').trim()} address=2: eth0    inet ${address}/16 brd 10.77.255.255 scope global eth0`

const three = [1, 2, 3].map(answer)

t.test('the program says one line that can be read, wherever it runs', (t) => {
  const text = execFileSync('/bin/sh', ['-c', factsScript], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const answers = parseAnswers(text)
  t.equal(answers.length, 1)
  t.match(answers[0]?.bytes, /^[0-9a-f]{32}$/)
  t.notMatch(factsScript, /'/, 'it can be quoted')
  t.end()
})

t.test('answers are read among other lines, in any order', (t) => {
  t.strictSame(parseAnswers(`hello\n${three.map(line).join('\n')}\nanswered 1\n`), three)
  t.strictSame(problemsOf(three.toReversed(), three), [])
  t.end()
})

const changed = (change: Partial<Answer>) => [answer(1), answer(2), { ...answer(3), ...change }]
const wrong: readonly [string, readonly Answer[], RegExp][] = [
  ['one that is missing', three.slice(1), /no answer of tiny-0001/],
  ['one that answers twice', [...three, answer(3)], /4 answers of 3 machines/],
  ["another one's address", changed({ address: answer(1).address }), /tiny-0003 says address 10.77.0.2, planned is/],
  ['another MAC', changed({ mac: '52:54:00:12:34:56' }), /tiny-0003 says mac 52:54:00:12:34:56/],
  ['no machine-id', changed({ machineId: '' }), /tiny-0003 says machineId nothing/],
  ['the same bytes', changed({ bytes: answer(1).bytes }), /3 answers have 2 different bytes/],
  ['no bytes', changed({ bytes: '' }), /tiny-0003 has not drawn 16 bytes/],
]

for (const [what, answers, problem] of wrong) {
  t.test(`${what} is a problem`, (t) => {
    t.match(problemsOf(answers, three).join('; '), problem)
    t.end()
  })
}
