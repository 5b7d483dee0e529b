// Making a connection: socket, authentication, opening the driver, keep-alive, events. A connection that is not whole is never handed out.
import { VmrmError } from '../errors/vmrm-error.ts'
import { Channel } from './channel.ts'
import { connectSocket } from './connect-socket.ts'
import type { ConnectOptions, LibvirtConnection } from './connection.ts'
import { LifecycleListeners } from './lifecycle-listeners.ts'
import { authTypes, keepaliveFeature, lifecycleEventId, maxPacketBytes, procedures } from './protocol.ts'
import { RemoteConnection } from './remote-connection.ts'

const defaults = {
  callTimeoutMs: 30_000,
  keepAliveIntervalMs: 5_000,
  keepAliveMaxUnanswered: 5,
  maxCallsInFlight: 4,
  maxPacketBytes,
}

/**
 * Connects, opens `uri` and subscribes to lifecycle events. Rejects with `libvirt-unreachable`, LibvirtError (the driver cannot be
 * opened), `libvirt-timeout` or the signal's reason; then nothing is left open.
 */
export async function connectLibvirt(options: ConnectOptions): Promise<LibvirtConnection> {
  const { socketPath, log, signal } = options
  const settings = { ...defaults, ...options }
  const socket = await connectSocket(socketPath, { timeoutMs: settings.callTimeoutMs, signal })
  const lifecycle = new LifecycleListeners(log)
  const channel = new Channel(socket, { ...settings, onMessage: (packet) => lifecycle.receive(packet) })
  try {
    await authenticate(channel, options)
    const open = { signal, action: `open ${options.uri}` }
    await channel.call(procedures.connectOpen, { uri: options.uri, flags: 0 }, open)
    await agreeOnKeepAlive(channel, settings)
    const events = { signal, action: 'send lifecycle events' }
    await channel.call(procedures.registerEvent, { eventId: lifecycleEventId, dom: undefined }, events)
  } catch (error) {
    channel.close()
    throw error
  }
  log.info('libvirt.connected', { socket: socketPath, uri: options.uri })
  return new RemoteConnection(channel, lifecycle)
}

/** Only sockets whose file mode is their protection: neither SASL nor polkit is spoken here (libvirtd exempts root from polkit). */
async function authenticate(channel: Channel, options: ConnectOptions): Promise<void> {
  const ask = { signal: options.signal, action: 'list its ways of authentication' }
  const { types } = await channel.call(procedures.authList, undefined, ask)
  if (types.includes(authTypes.none)) return
  throw new VmrmError('libvirt-unreachable', `libvirtd at ${options.socketPath} asks for authentication`, {
    hint: 'Set auth_unix_rw = "none" in libvirtd.conf; the mode of the socket protects it.',
  })
}

/** Asking for the feature makes libvirtd ping us; one that does not know it gets no pings either. */
async function agreeOnKeepAlive(
  channel: Channel,
  settings: ConnectOptions & { keepAliveIntervalMs: number; keepAliveMaxUnanswered: number },
): Promise<void> {
  const ask = { signal: settings.signal, action: 'agree on keep-alive' }
  const { supported } = await channel.call(procedures.supportsFeature, { feature: keepaliveFeature }, ask)
  if (supported === 0) {
    settings.log.warn('libvirt.no-keepalive', { socket: settings.socketPath })
    return
  }
  channel.startKeepAlive({ intervalMs: settings.keepAliveIntervalMs, maxUnanswered: settings.keepAliveMaxUnanswered })
}
