// Run in a host as another user: calls every message that is not a user's, over the local socket and over MUNGE, and asks
// for a place in another's VM. Prints one JSON object. argv: uid, address and name of the node, address of the controller,
// SlurmUser's uid, job of another user.
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { decodeFields, encodeFields, textOf, u32Field } from '../../../lib/guest/frame/fields.ts'
import { encodeFrame, frameType } from '../../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../../lib/guest/frame/frame-reader.ts'
import { type Connect, createClient } from '../../../lib/protocol/client.ts'
import { sessionMessages } from '../../../lib/protocol/messages/session.ts'
import { messages, type ProgramCallType, type RequestOf } from '../../../lib/protocol/messages.ts'
import { examples } from '../../support/protocol/examples.ts'

const [uid = 0, , , , slurmUid = 0, job = 0] = process.argv.slice(2).map(Number)
const [, nodeAddress = '', nodeName = '', controllerAddress = ''] = process.argv.slice(2)
process.setgroups?.([])
process.setgid?.(uid)
process.setuid?.(uid)

const munge = { socketPath: '/run/munge/munge.socket.2' }
/** The name is a lie: this user is no node. */
const lie = { kind: 'munge', name: nodeName, ownUid: uid, munge, trustedUids: [0, slurmUid] } as const
const targets: readonly { name: string; role: 'node' | 'controller'; connect: Connect }[] = [
  ...(['node', 'controller'] as const)
    .map((role) => ({ name: `${role}.sock`, role, path: `/run/vmrm/${role}.sock` }))
    .filter(({ path }) => existsSync(path))
    .map(({ name, role, path }) => ({ name, role, connect: { kind: 'local', path } as const })),
  {
    name: 'node by TCP',
    role: 'node',
    connect: { ...lie, host: nodeAddress, port: 6830, to: nodeName, receiverUid: 0 },
  },
  {
    name: 'controller by TCP',
    role: 'controller',
    connect: { ...lie, host: controllerAddress, port: 6829, to: 'controller', receiverUid: slurmUid },
  },
]

async function ask(target: Connect, type: ProgramCallType): Promise<string> {
  const client = createClient({ connect: target, unreachable: 'daemon-unreachable' })
  const example = (examples as Record<string, object>)[`${type} request`] ?? {}
  const body = 'job' in example ? { ...example, job, restart: 0 } : example
  try {
    await client.call(type, body as RequestOf<ProgramCallType>, { timeoutMs: 10_000 })
    return 'done'
  } catch (error) {
    return error instanceof VmrmError ? error.code : String(error)
  } finally {
    client.close()
  }
}

/** The words of the refusal; `attached` if there is none. */
async function attach(wanted: number): Promise<string> {
  const socket = connect('/run/vmrm/task.sock')
  const { promise, resolve } = Promise.withResolvers<string>()
  const reader = new FrameReader({
    frame: ({ type, payload }) =>
      resolve(type === frameType.refused ? (textOf(decodeFields(payload) ?? [], 1) ?? '') : `type ${type}`),
    fault: resolve,
  })
  socket.on('data', (chunk: Buffer) => reader.push(chunk))
  socket.on('error', (error) => resolve(String(error)))
  const payload = encodeFields([
    [1, String(wanted)],
    [6, u32Field(0)],
  ])
  socket.write(encodeFrame({ type: frameType.attach, session: 99n, payload }))
  const answer = await Promise.race([promise, delay(15_000, 'no answer')])
  socket.destroy()
  return answer
}

const answers: Record<string, string> = {}
const lies: Record<string, string> = {}
const asUser = (target: Connect): Connect => (target.kind === 'munge' ? { ...target, name: 'user' } : target)
for (const [type, definition] of Object.entries(messages)) {
  if (definition.kind !== 'call' || Object.hasOwn(sessionMessages, type)) continue
  if (definition.from.some((sender) => sender === 'user')) continue
  for (const { name, role, connect: target } of targets) {
    if (!definition.to.some((receiver) => receiver === role)) continue
    answers[`${type} to ${name}`] = await ask(asUser(target), type as ProgramCallType)
    // Who speaks for a node that he is not is heard no further: the connection ends without a word.
    if (target.kind === 'munge') lies[`${type} to ${name}`] = await ask(target, type as ProgramCallType)
  }
}

async function seen(): Promise<object> {
  const found: Record<string, readonly number[]> = {}
  for (const { name, role, connect: target } of targets) {
    const client = createClient({
      connect: asUser(target),
      unreachable: 'daemon-unreachable',
    })
    const { runs } =
      role === 'controller' ? await client.call('list-runs', { all: false }) : await client.call('node-status', {})
    client.close()
    found[name] = runs.flatMap((run) => run.job ?? [])
  }
  return found
}

const hasPlaces = existsSync('/run/vmrm/task.sock')
const places = hasPlaces ? { other: await attach(job), none: await attach(4_000_000) } : undefined
process.stdout.write(JSON.stringify({ answers, lies, seen: await seen(), places }))
