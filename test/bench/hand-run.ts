// The baseline of a start: QEMU booted by hand to the user's first instruction, with what that takes: the guest's name,
// address, user and home (over NFS from the same server as vmrm's guests), and the program over the agent's port.
import { randomBytes } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Image } from '../../lib/config/image-schema.ts'
import type { Account } from '../../lib/daemon/account.ts'
import { exportOptions } from '../../lib/daemon/node/vms/identity-of.ts'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import type { GuestIdentity, GuestMount } from '../../lib/guest/channel/identity.ts'
import { encodeFields } from '../../lib/guest/frame/fields.ts'
import { encodeFrame, type FrameFields, frameType, streamNumber } from '../../lib/guest/frame/frame.ts'
import { createLog } from '../../lib/log.ts'
import { exportPath, renderExports } from '../../lib/network/nfs-export.ts'
import { hostNamed } from '../cluster/layout.ts'
import type { RunningHost } from '../cluster/namespaces.ts'
import { exportsFolder, servicesNamespace } from '../cluster/nfs.ts'
import { flagEnd } from '../guest/stream-fields.ts'
import type { Cluster } from '../support/cluster.ts'
import { bootByHand, handMac } from '../support/qemu-by-hand.ts'

/** Below those that vmrmd uses. */
const exportNumber = 90
const exportName = 'byhand'
/** QEMU's user-mode network: the guest, and the loopback of where QEMU runs. */
const [guestAddress, loopbackAddress] = ['10.0.2.15/24', '10.0.2.2']

export interface HandRun {
  readonly image: Image
  readonly account: Account
  readonly memoryMib: number
  /** The node whose file server is used. */
  readonly node: RunningHost
  readonly argv: readonly string[]
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export interface HandTiming {
  /** From the start of QEMU to the agent's answer, to the identity, to the first byte of the program's stdout. */
  readonly agentMs: number
  readonly identityMs: number
  readonly firstByteMs: number
}

/** Exports /home of a node to QEMUs beside its file server; vmrmd does not take a file without `.conf` for a run's. Returns what takes it back. */
export async function exportHome(cluster: Cluster, node: string, account: Account): Promise<() => Promise<void>> {
  const path = join(hostNamed(cluster.layout, node).folder, exportsFolder, exportName)
  const { uid, gid } = account
  const folders = [{ path: '/home', readOnly: false }]
  const reload = async (): Promise<void> => {
    const done = await cluster.run(['sh', '-c', 'kill -HUP "$(cat /run/ganesha/ganesha.pid)"'], { node })
    if (done.exitCode !== 0) throw new Error(`the file server of ${node} cannot be told: ${done.stderr}`)
  }
  const text = renderExports({ run: exportName, uid, gid, addresses: ['127.0.0.1'], folders }, [exportNumber])
  // Not half-written in the folder: the server reads every file there.
  const beside = join(dirname(dirname(path)), `exports.${exportName}.new`)
  await writeFile(beside, text, { mode: 0o600 })
  await rename(beside, path)
  await reload()
  return async () => {
    await rm(path, { force: true })
    await reload()
  }
}

/** What `exportHome` has exported, as a guest with QEMU's user-mode network mounts it. */
export const exportedHome: GuestMount = {
  ...{ type: 'nfs4', source: `${loopbackAddress}:${exportPath(exportName, 0)}` },
  ...{ target: '/home', options: exportOptions },
}

/** The argv that becomes a program beside a node's file server. */
export function besideFileServer(node: RunningHost): readonly string[] {
  return ['/usr/bin/nsenter', `--net=/proc/${node.init.pid}/root/run/netns/${servicesNamespace}`, '--']
}

function identityOf({ account, node }: HandRun): GuestIdentity {
  return {
    ...{ run: 'j1r0', hostname: 'byhand', node: node.name, user: account, groups: account.groups },
    hosts: { addresses: guestAddress.replace(/\/.*/, ''), hostnames: 'byhand', nodes: node.name, vms: '1' },
    nics: [{ mac: handMac, address: guestAddress, mtu: 1450 }],
    commands: [],
    mounts: [exportedHome],
    timeNs: BigInt(Date.now()) * 1_000_000n,
    entropy: randomBytes(64),
  }
}

/** Starts the program; resolves with the first bytes it writes. */
export async function firstOutput(
  channel: GuestChannel,
  wanted: { readonly argv: readonly string[]; readonly home: string; readonly signal: AbortSignal },
): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  channel.onFrame = (frame) => {
    if (frame.type === frameType.error) reject(new Error(`the agent refused: ${frame.payload.toString('latin1')}`))
    if (frame.type === frameType.data && frame.stream === streamNumber.stdout) resolve(frame.payload)
  }
  const session = randomBytes(8).readBigUInt64LE() | 1n
  const send = (fields: FrameFields): void => void channel.send(encodeFrame({ session, ...fields }))
  const { home } = wanted
  const [argument, environment, folder, noStdin] = [1, 2, 3, 10]
  const spec = encodeFields([
    ...wanted.argv.map((arg) => [argument, arg] as const),
    ...['PATH=/usr/bin:/bin', `HOME=${home}`].map((text) => [environment, text] as const),
    [folder, home],
    [noStdin, 'null'],
  ])
  send({ type: frameType.open })
  send({ type: frameType.data, stream: streamNumber.spec, flags: flagEnd, payload: spec })
  const expire = (): void => reject(wanted.signal.reason)
  wanted.signal.addEventListener('abort', expire)
  return promise.finally(() => wanted.signal.removeEventListener('abort', expire))
}

/** One boot, ended afterwards whatever happens. Throws with the console's end where it does not get that far within the time. */
export async function runByHand(wanted: HandRun): Promise<HandTiming> {
  const signal = AbortSignal.any([wanted.signal, AbortSignal.timeout(wanted.timeoutMs)])
  const startedMs = performance.now()
  const since = (): number => performance.now() - startedMs
  const vm = await bootByHand({
    ...{ image: wanted.image, memoryMib: wanted.memoryMib, reach: 'loopback' },
    runner: besideFileServer(wanted.node),
  })
  const log = createLog({ level: 'error', write: (line: string) => void process.stderr.write(line) })
  const channel = new GuestChannel({ path: vm.portPath, vm: 'byhand', log })
  try {
    await channel.open(signal)
    const agentMs = since()
    await channel.identify(identityOf(wanted), signal)
    const identityMs = since()
    await firstOutput(channel, { argv: wanted.argv, home: wanted.account.home, signal })
    return { agentMs, identityMs, firstByteMs: since() }
  } catch (cause) {
    throw new Error(`booting by hand: ${(cause as Error).message}\n${vm.console().slice(-1000)}`, { cause })
  } finally {
    channel.close()
    await vm.stop()
  }
}
