// What an interrupted `vmrm create` does with its batch, whoever does not answer meanwhile; the controller is a stand-in.
import t from 'tap'
import { takeBack } from '../../lib/command/batch/take-back.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { ProtocolClient } from '../../lib/protocol/client.ts'

const away = () => new VmrmError('controller-unreachable', 'nobody is there')

/** `destroy` answers, or throws, each time it is asked. */
function setUp(destroy: (times: number) => unknown) {
  const said: string[] = []
  const again = new AbortController()
  let times = 0
  const call = async (type: string) => {
    if (type === 'list-runs') return { runs: [{ batch: 7, state: 'ended' }] }
    times += 1
    return destroy(times)
  }
  const controller = { call } as unknown as ProtocolClient
  const tell = (line: string) => void said.push(line)
  return { controller, said, again, options: { batch: 7, again: again.signal, tell }, times: () => times }
}

t.test('a controller that is restarted is waited for', async (t) => {
  const { controller, said, options, times } = setUp((at) => {
    if (at === 1) throw away()
    if (at === 2) throw new VmrmError('ledger-rebuilding', 'it asks its nodes')
    return { batch: 7, state: 'ending' }
  })
  await takeBack(controller, options)
  t.equal(times(), 3)
  t.match(said, ['interrupted: batch b7 is removed', /^the controller does not answer; waiting for it, at most 60 s$/])
  t.equal(said.length, 2)
})

t.test('one that does not come is told of, with the batch that may be left', async (t) => {
  const { controller, options, times } = setUp(() => {
    throw away()
  })
  await t.rejects(takeBack(controller, { ...options, patienceMs: 0 }), {
    ...{ code: 'controller-unreachable', message: /^batch b7 may still be there: nobody is there$/ },
    hint: /vmrm destroy b7/,
  })
  t.equal(times(), 1)
})

t.test('what waiting cannot mend is told at once', async (t) => {
  const { controller, options, times } = setUp(() => {
    throw new VmrmError('not-permitted', 'no')
  })
  await t.rejects(takeBack(controller, options), { code: 'not-permitted' })
  t.equal(times(), 1)
})

t.test('whoever interrupts again is let go, and told of the batch', async (t) => {
  const { controller, said, again, options } = setUp(() => {
    again.abort('SIGINT')
    throw away()
  })
  await takeBack(controller, options)
  t.match(said.at(-1), /^interrupted again: batch b7 may still be there; .*vmrm destroy b7$/)
})
