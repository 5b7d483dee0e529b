import t from 'tap'
import { type ControllerHandlerOptions, createControllerHandlers } from '../../../lib/daemon/controller/handlers.ts'
import { openLedger } from '../../../lib/daemon/controller/ledger.ts'
import { silentLog } from '../../../lib/log.ts'
import { writeMessage } from '../../../lib/protocol/envelope.ts'
import { sealedMessageLimitBytes } from '../../../lib/protocol/limits.ts'
import type { Caller } from '../../../lib/protocol/transport/caller.ts'

const alice = { uid: 2001, gid: 2001, user: 'alice', account: '' }
const bob = { uid: 2002, gid: 2002, user: 'bob', account: '' }

function setUp() {
  const ledger = openLedger(':memory:')
  const handlers = createControllerHandlers({
    ...{ ledger, trustedUids: [0], log: silentLog, now: () => Date.now() },
  } as unknown as ControllerHandlerOptions)
  const list = async (uid: number, all: boolean) => {
    const reply = await handlers['list-runs']({ all }, { uid } as Caller)
    return { reply, xml: writeMessage({ id: 1, kind: 'reply', type: 'list-runs' }, reply) }
  }
  return { ledger, list }
}

t.test('a user finds the run that still runs behind a thousand later ones, and nobody else finds it', async (t) => {
  const { ledger, list } = setUp()
  const add = (job: number, owner: typeof alice) =>
    ledger.add({ job, restart: 0, ...owner, image: 'tiny', script: 'guest', deadlineMs: 0, beganMs: job })
  add(1, alice)
  for (let job = 2; job < 1300; job++) {
    add(job, bob)
    ledger.finish({ job, restart: 0 }, job)
  }
  const jobsOf = async (uid: number, all = false) => (await list(uid, all)).reply.runs.map(({ job }) => job)
  t.same(await jobsOf(alice.uid), [1])
  t.same(await jobsOf(0), [1])
  t.equal((await jobsOf(0, true))[0], 1)
  t.same(await jobsOf(bob.uid), [])
  t.notOk((await jobsOf(bob.uid, true)).includes(1))
})

t.test(
  'no run keeps the list from being sent: neither one that asked for nothing readable, nor long reasons',
  async (t) => {
    const { ledger, list } = setUp()
    const reason = `VM j1r0v0 did not answer ${'&'.repeat(10_000)}\n${'a line of the console\n'.repeat(200)}`
    for (let job = 1; job <= 1000; job++) {
      ledger.add({ job, restart: 0, ...alice, image: '', script: 'guest', deadlineMs: 0, beganMs: job })
      ledger.move({ job, restart: 0 }, ['preparing'], 'aborted', { code: 'vm-boot-timeout', reason })
    }
    const { reply, xml } = await list(alice.uid, false)
    t.ok(reply.runs.length > 100, `${reply.runs.length} runs`)
    t.equal(reply.runs[0]?.job, 1000, 'the newest first')
    t.ok(Buffer.byteLength(xml) < sealedMessageLimitBytes, `${Buffer.byteLength(xml)} bytes`)
  },
)
