// Asks a guest's agent for its HELLO_ACK over the host's end of the agent's port. It owns one connection.
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { decodeFields, encodeFields, type Field, u32Field } from '../../lib/guest/frame/fields.ts'
import { encodeFrame, frameType, protocolVersion } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'

async function connectTo(path: string, deadlineMs: number): Promise<Socket> {
  for (;;) {
    const socket = connect(path)
    const { promise, resolve } = Promise.withResolvers<unknown>()
    socket.once('connect', () => resolve(undefined))
    socket.once('error', resolve)
    const error = await promise
    if (error === undefined) return socket
    if (performance.now() > deadlineMs) throw new Error(`cannot connect to ${path}`, { cause: error })
    await delay(5)
  }
}

/**
 * The fields of the HELLO_ACK, and the connected socket past it, which the caller ends. Rejects after the bound.
 * HELLO goes out every 250 ms, since what is written before the guest opens its port may be lost.
 */
export async function askHello(path: string, timeoutMs: number): Promise<{ fields: readonly Field[]; socket: Socket }> {
  const socket = await connectTo(path, performance.now() + timeoutMs)
  const nonce = randomBytes(16)
  const payload = encodeFields([
    [1, nonce],
    [2, u32Field(protocolVersion)],
  ])
  const hello = encodeFrame({ type: frameType.hello, payload })
  const { promise, resolve, reject } = Promise.withResolvers<readonly Field[]>()
  const reader = new FrameReader({
    frame: (frame) => resolve(decodeFields(frame.payload) ?? []),
    fault: (fault) => reject(new Error(`the agent's answer is no frame: ${fault}`)),
  })
  reader.hunt(nonce)
  const listen = (chunk: Buffer): void => reader.push(chunk)
  const end = (): void => reject(new Error("the agent's port was closed"))
  socket.on('data', listen).once('close', end).once('error', end)
  const again = setInterval(() => socket.write(hello), 250)
  const timer = setTimeout(() => reject(new Error(`the agent did not answer within ${timeoutMs} ms`)), timeoutMs)
  socket.write(hello)
  try {
    return { fields: await promise, socket }
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    clearInterval(again)
    clearTimeout(timer)
    socket.off('data', listen).off('close', end)
  }
}
