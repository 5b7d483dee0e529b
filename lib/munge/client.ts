// Asks the local munged to encode and decode credentials. It owns the retries and the error codes; it never
// retries a decode that munged may have seen, since the second answer would say "replayed".
import { setTimeout as delay } from 'node:timers/promises'
import type { ErrorCode } from '../errors/catalogue.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { ExchangeError, exchange } from './exchange.ts'
import { packDecodeRequest, packEncodeRequest, unpackDecodeResponse, unpackEncodeResponse } from './wire.ts'

/** Where Debian's and MUNGE's own build put munged's socket. */
const defaultSocketPath = '/run/munge/munge.socket.2'
const attempts = 4
const exchangesAtOnce = 32
const firstPauseMs = 10
const defaultTimeoutMs = 10_000

/** munged's status numbers that a caller can act on; every other one is `munge-credential-invalid`. */
const codesByStatus: Readonly<Record<number, ErrorCode>> = {
  2: 'munge-failed',
  3: 'munge-failed',
  5: 'munge-failed',
  6: 'munge-unreachable',
  7: 'munge-unreachable',
  15: 'munge-expired',
  16: 'munge-rewound',
  17: 'munge-replayed',
  18: 'munge-not-authorised',
}

export interface MungeOptions {
  /** munged's socket; default `/run/munge/munge.socket.2`. */
  readonly socketPath?: string
  readonly signal?: AbortSignal
  /** From this call's turn, as only some ask munged at once, retries included; default 10 s. */
  readonly timeoutMs?: number
}

export interface MungeEncodeOptions extends MungeOptions {
  readonly payload: Uint8Array
  /** Only this uid may decode (munged's root exception aside: it makes none by default). */
  readonly uidRestriction?: number
  /** Only members of this group may decode. */
  readonly gidRestriction?: number
  /** How long the credential is valid; 0 or absent: munged's default (300 s). */
  readonly ttlSeconds?: number
}

export interface MungeDecoded {
  readonly payload: Uint8Array
  /** Who encoded it, as the encoder's munged saw its peer. */
  readonly uid: number
  readonly gid: number
  readonly encodedAt: Date
  readonly ttlSeconds: number
  /** IPv4 address the encoder's munged gave as its own: informative, a host can have several. */
  readonly address: string
  readonly uidRestriction: number | undefined
  readonly gidRestriction: number | undefined
}

let running = 0
const waiting: (() => void)[] = []

/** munged has room for some hundred callers that wait, and refuses the next: a thousand nodes report at the same time. */
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= exchangesAtOnce) await new Promise<void>((resolve) => waiting.push(resolve))
  else running += 1
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next()
  }
}

async function ask(options: MungeOptions & { request: Buffer; retry: 'always' | 'before-sent' }): Promise<Buffer> {
  const socketPath = options.socketPath ?? defaultSocketPath
  let bound: AbortSignal | undefined
  // It begins with this call's turn: what others ask munged before is no fault of munged's.
  const begin = () => {
    bound ??= AbortSignal.timeout(options.timeoutMs ?? defaultTimeoutMs)
    return options.signal === undefined ? bound : AbortSignal.any([options.signal, bound])
  }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await inTurn(() => exchange({ socketPath, request: options.request, signal: begin() }))
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason
      const text = error instanceof ExchangeError ? error.message : 'it did not answer in time'
      const safe = error instanceof ExchangeError && (options.retry === 'always' || error.stage === 'connecting')
      if (!safe || attempt === attempts || bound?.aborted) {
        throw new VmrmError('munge-unreachable', `Asking munged at ${socketPath} failed: ${text}`, { cause: error })
      }
    }
    // munged answers a full backlog with EAGAIN and is gone for a moment when it restarts: both pass.
    await delay(firstPauseMs * 4 ** (attempt - 1), undefined, { signal: begin() }).catch(() => {}) // the next attempt looks at the abort
  }
}

function checkStatus(doing: string, response: { status: number; text: string }): void {
  if (response.status === 0) return
  const code = codesByStatus[response.status] ?? 'munge-credential-invalid'
  throw new VmrmError(code, `${doing} failed: munged says "${response.text}" (${response.status})`)
}

function unpack<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new VmrmError('munge-unreachable', `munged's answer cannot be read: ${(error as Error).message}`, {
      cause: error,
    })
  }
}

/**
 * A credential (text, `MUNGE:…:`) over `payload` in the name of this process's uid and gid.
 * Throws `munge-unreachable` or `munge-failed`; the signal's reason when it aborts.
 */
export async function mungeEncode(options: MungeEncodeOptions): Promise<string> {
  const request = packEncodeRequest({
    payload: options.payload,
    uidRestriction: options.uidRestriction,
    gidRestriction: options.gidRestriction,
    ttlSeconds: options.ttlSeconds ?? 0,
  })
  const answer = await ask({ ...options, request, retry: 'always' })
  const response = unpack(() => unpackEncodeResponse(answer))
  checkStatus('Encoding a MUNGE credential', response)
  // munged ends the text with a NUL that is no part of it.
  return Buffer.from(response.credential).toString('latin1').replace(/\0+$/, '')
}

/**
 * What a credential holds and who made it. A credential decodes once on a host.
 * Throws `munge-replayed`, `munge-expired`, `munge-rewound`, `munge-not-authorised`, `munge-credential-invalid`,
 * `munge-unreachable`, `munge-failed`; the signal's reason when it aborts.
 */
export async function mungeDecode(credential: string, options: MungeOptions = {}): Promise<MungeDecoded> {
  if (!/^MUNGE:[A-Za-z0-9+/=]*:\0?$/.test(credential)) {
    throw new VmrmError('munge-credential-invalid', 'Decoding a MUNGE credential failed: the text is not a credential')
  }
  const request = packDecodeRequest(Buffer.from(`${credential.replace(/\0$/, '')}\0`, 'latin1'))
  const answer = await ask({ ...options, request, retry: 'before-sent' })
  const response = unpack(() => unpackDecodeResponse(answer))
  checkStatus('Decoding a MUNGE credential', response)
  return Object.freeze({
    payload: response.payload,
    uid: response.uid,
    gid: response.gid,
    encodedAt: new Date(response.encodedAtSeconds * 1000),
    ttlSeconds: response.ttlSeconds,
    address: Array.from(response.address).join('.'),
    uidRestriction: response.uidRestriction,
    gidRestriction: response.gidRestriction,
  })
}
