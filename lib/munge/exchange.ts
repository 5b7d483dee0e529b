// One request and one response over munged's socket. It owns the connection and its bounds, and never asks twice.
import { connect } from 'node:net'
import { messageLength } from './wire.ts'

/** The request may or may not have reached munged when the exchange failed: decides whether asking again is safe. */
export type ExchangeStage = 'connecting' | 'exchanging'

export class ExchangeError extends Error {
  readonly stage: ExchangeStage
  constructor(stage: ExchangeStage, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.stage = stage
  }
}

/**
 * Sends `request` and resolves to munged's whole answer. munged serves one request a connection.
 * Rejects with ExchangeError on any failure, or with the signal's reason when it aborts.
 */
export function exchange(options: { socketPath: string; request: Buffer; signal: AbortSignal }): Promise<Buffer> {
  const { socketPath, request, signal } = options
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    let stage: ExchangeStage = 'connecting'
    let received = Buffer.alloc(0)
    const socket = connect(socketPath)
    const finish = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      settle()
    }
    const fail = (message: string, cause?: unknown) => finish(() => reject(new ExchangeError(stage, message, cause)))
    const onAbort = () => finish(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('connect', () => {
      stage = 'exchanging'
      socket.write(request)
    })
    socket.on('error', (error) => fail(error.message, error))
    socket.on('end', () => fail('munged closed the connection before it had answered'))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      try {
        const length = messageLength(received)
        if (length === undefined || received.length < length) return
        const message = received.subarray(0, length)
        finish(() => resolve(message))
      } catch (error) {
        fail((error as Error).message, error)
      }
    })
  })
}
