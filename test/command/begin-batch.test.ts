// What `vmrm create` does about its request when somebody interrupts it before the answer; the controller is a stand-in.
import t from 'tap'
import { beginBatch } from '../../lib/command/batch/begin-batch.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { ProtocolClient } from '../../lib/protocol/client.ts'

const request = { name: 'mine', image: 'tiny', perNode: 1, cpus: 1, memoryMib: 500 }
const away = () => new VmrmError('controller-unreachable', 'nobody is there')
const isWaiting = 'interrupted: waiting for the controller to say whether it has begun a batch, to remove that'
const mayCome = 'a batch of the name mine may come; see vmrm ps, remove it with vmrm destroy mine'

/** `answer` is what the controller does each time it is asked; it may interrupt. */
function setUp(answer: (times: number, interrupt: () => void) => unknown) {
  const said: string[] = []
  const [interrupted, again] = [new AbortController(), new AbortController()]
  const interrupt = () => (interrupted.signal.aborted ? again : interrupted).abort('SIGINT')
  let times = 0
  const call = async () => {
    times += 1
    return answer(times, interrupt)
  }
  const tell = (line: string) => void said.push(line)
  const begin = (patienceMs = 60_000) =>
    beginBatch({ call } as unknown as ProtocolClient, request, {
      ...{ interrupted: interrupted.signal, again: again.signal, tell, patienceMs },
    })
  return { begin, said, interrupt }
}

t.test('whoever interrupts reads at once what is waited for, and gets the number that is to be removed', async (t) => {
  const { begin, said, interrupt } = setUp((times, interrupt) => {
    if (times === 2) return { batch: 7 }
    interrupt()
    t.same(said, [isWaiting])
    throw away()
  })
  t.equal(await begin(), 7)
  t.match(said, [isWaiting, /^the controller does not answer; waiting for it, at most 60 s$/])
  interrupt()
  t.equal(said.length, 2, 'afterwards it is not its business any more')
})

t.test(
  'an interrupted request ends as such also if the controller stays away, and tells what may be left',
  async (t) => {
    const { begin, said } = setUp((_, interrupt) => {
      interrupt()
      throw away()
    })
    t.equal(await begin(0), undefined)
    t.same(said, [isWaiting, `nobody is there; ${mayCome}`])
  },
)

t.test('a refusal is told, and nothing may be left', async (t) => {
  const { begin, said } = setUp((_, interrupt) => {
    interrupt()
    throw new VmrmError('not-permitted', 'only root may')
  })
  t.equal(await begin(), undefined)
  t.same(said, [isWaiting, 'only root may'])
})

t.test('whoever interrupts again is let go, and told what may be left', async (t) => {
  const { begin, said } = setUp((_, interrupt) => {
    interrupt()
    interrupt()
    throw away()
  })
  t.equal(await begin(), undefined)
  t.same(said, [isWaiting, `interrupted again: ${mayCome}`])
})

t.test('what nobody interrupted fails with its cause', async (t) => {
  const { begin, said } = setUp(() => {
    throw away()
  })
  await t.rejects(begin(0), { code: 'controller-unreachable' })
  t.same(said, [])
})
