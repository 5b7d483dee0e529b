// A guest that vmrmd makes a template: what it says of itself, what it refuses, and that it takes an identity from another host end.
import { join } from 'node:path'
import t from 'tap'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { silentLog } from '../../lib/log.ts'
import { CagedAgent } from './caged-agent.ts'
import { PortBridge } from './port-bridge.ts'
import { buildC, guestIdentity } from './rig.ts'

const soon = () => AbortSignal.timeout(60_000)

t.test('a fresh guest becomes a template, waits for another host end, and takes its identity there', async (t) => {
  const agent = new CagedAgent(buildC('vmrm-agent', 'sanitized'))
  const bridge = new PortBridge(join(agent.folder, 'host'))
  const channel = () => new GuestChannel({ path: bridge.hostPath, vm: 'template', log: silentLog })
  t.teardown(async () => {
    bridge.close()
    await agent.stop()
  })
  await bridge.listen(agent.portPath)

  const maker = channel()
  t.equal((await maker.open(soon())).identity, 'fresh')
  await maker.prepareTemplate(soon(), { restMs: 5000, sshHostKey: 'a key' })
  await maker.prepareTemplate(soon())
  maker.close()
  bridge.cutHost()

  const clone = channel()
  t.teardown(() => clone.close())
  t.equal((await clone.open(soon())).identity, 'template')
  await clone.identify(guestIdentity('root'), soon())
  await t.rejects(clone.prepareTemplate(soon()), { code: 'template-failed', quoted: 'the VM has an identity' })
  t.equal((await clone.open(soon())).identity, 'identified', 'it stays what it was')
  t.notMatch(agent.stderr, /Sanitizer|runtime error/)
})
