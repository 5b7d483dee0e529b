import t from 'tap'
import { callPatiently } from '../../hooks/call-patiently.ts'
import { silentLog } from '../../lib/log.ts'
import { createServer } from '../../lib/protocol/server.ts'
import { ownGid, ownUid, scratch, serve } from '../support/protocol/fixtures.ts'
import { until } from '../support/until.ts'

const request = { type: 'node-end', body: { job: 7, restart: 0 } } as const

t.test('a daemon that hangs is asked once, and the hook ends at its bound', async (t) => {
  let asked = 0
  const hang = () => {
    asked += 1
    return new Promise<never>(() => {})
  }
  const { path } = await serve(t, { role: 'node', handlers: { 'node-end': hang } })
  await t.rejects(callPatiently({ path, ...request, timeoutMs: 300, downMs: 100 }), { code: 'daemon-unreachable' })
  t.equal(asked, 1)
})

t.test('a daemon that is restarted in the middle is asked again; one that stays away is given up', async (t) => {
  const path = `${scratch(t)}/sock`
  const peerCredentials = () => ({ uid: ownUid, gid: ownGid, pid: process.pid })
  const start = (answer: () => Promise<{ outcome: 'removed' }>) =>
    createServer({
      role: 'node',
      handlers: { 'node-end': answer },
      trustedUids: [ownUid],
      log: silentLog,
      listen: [{ kind: 'local', path, peerCredentials }],
    })
  let asked = 0
  const first = await start(() => {
    asked += 1
    return new Promise(() => {})
  })
  const answer = callPatiently({ path, ...request, timeoutMs: 20_000, downMs: 10_000 })
  await until('the question', () => asked === 1)
  await first.close({ graceMs: 0 })
  const second = await start(async () => ({ outcome: 'removed' }))
  t.match(await answer, { outcome: 'removed' })
  await second.close()
  await t.rejects(callPatiently({ path, ...request, timeoutMs: 20_000, downMs: 300 }), { code: 'daemon-unreachable' })
})
