// One agent with its host and a user, for a test; everything is ended with the test. It must not hide what a sanitizer said.
import type { Test } from 'tap'
import { identityTag } from '../../../lib/guest/channel/identity.ts'
import { type FieldValue, joinTexts } from '../../../lib/guest/frame/fields.ts'
import { AgentProcess, buildAgent, type Grouping } from './agent-process.ts'
import { Host } from './host.ts'

export const user = { name: 'tess', uid: 4321, gid: 4321, extraGid: 4322, home: '/tmp' }

export const userFields: readonly (readonly [number, FieldValue])[] = [
  [identityTag.run, 'j1r0'],
  [identityTag.user, joinTexts([user.name, String(user.uid), String(user.gid), user.home, '/bin/sh', 'Tess'])],
  [identityTag.group, joinTexts([user.name, String(user.gid)])],
  [identityTag.group, joinTexts(['crew', String(user.extraGid)])],
]

export interface Guest {
  readonly agent: AgentProcess
  readonly host: Host
}

let binary: string | undefined

/** Starts an agent (under the sanitizers) and greets it; 'fresh': without an identity. */
export async function startGuest(
  t: Test,
  options: { readonly grouping?: Grouping; readonly identity?: 'user' | 'fresh' } = {},
): Promise<Guest> {
  binary ??= buildAgent()
  const agent = new AgentProcess(binary, options.grouping ?? 'cgroup')
  let host: Host | undefined
  t.teardown(async () => {
    await host?.close()
    await agent.stop()
  })
  host = await Host.listen(agent.socketPath)
  await host.greeted().catch((error: unknown) => {
    throw new Error(`no greeting; the agent said: ${agent.stderr}`, { cause: error })
  })
  if (options.identity !== 'fresh') {
    const complaint = await host.identify(userFields)
    if (complaint !== '') throw new Error(complaint)
  }
  return { agent, host }
}

/** The agent lives, its sanitizers found nothing, and no frame of it was broken. */
export function checkGuest(t: Test, guest: Guest): void {
  // Where the machine's containment forbids it, the agent says so once.
  const said = guest.agent.stderr.replace('vmrm-agent: cannot be protected from the out-of-memory killer\n', '')
  t.equal(said, '', 'the agent and its sanitizers said nothing')
  t.ok(guest.agent.isRunning, 'the agent runs')
  t.strictSame(guest.host.faults, [], 'no broken frame came from the agent')
}
