// munged's local protocol, version 4: packs requests and unpacks responses. It owns the byte layout, never a socket.
// Source of the layout: the message structures of MUNGE 0.5 (m_msg); checked against munged 0.5.15 in test/munge.

const magic = 0x00606d4b
const version = 4
const headerBytes = 11
const messageTypes = { encodeRequest: 2, encodeResponse: 3, decodeRequest: 4, decodeResponse: 5 } as const
/** "As munged is configured", for cipher, MAC and compression. */
const siteDefault = 1
/** munged's own limit for one message; a longer answer is no answer of munged's. */
const messageLimitBytes = 1_048_576
/** In a credential's restriction: everyone may decode. */
const anyone = 0xffff_ffff

/** munged answered with bytes that are not its protocol. */
class MungeWireError extends Error {}

export interface EncodeFields {
  readonly payload: Uint8Array
  readonly uidRestriction: number | undefined
  readonly gidRestriction: number | undefined
  /** 0: munged's default. */
  readonly ttlSeconds: number
}

/** What munged says to an encode or decode request: its status byte (0: good), its own words, and the data. */
export interface EncodeResponse {
  readonly status: number
  readonly text: string
  readonly credential: Uint8Array
}

export interface DecodeResponse {
  readonly status: number
  readonly text: string
  readonly ttlSeconds: number
  readonly address: Uint8Array
  readonly encodedAtSeconds: number
  readonly uid: number
  readonly gid: number
  readonly uidRestriction: number | undefined
  readonly gidRestriction: number | undefined
  readonly payload: Uint8Array
}

function packMessage(type: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32BE(magic, 0)
  header.writeUInt8(version, 4)
  header.writeUInt8(type, 5)
  // The retry counter stays 0: above 0 munged lets a replayed credential pass (it takes it for an answer that got lost).
  header.writeUInt8(0, 6)
  header.writeUInt32BE(body.length, 7)
  return Buffer.concat([header, body])
}

export function packEncodeRequest(fields: EncodeFields): Buffer {
  const fixed = Buffer.alloc(20)
  fixed.writeUInt8(siteDefault, 0) // cipher
  fixed.writeUInt8(siteDefault, 1) // MAC
  fixed.writeUInt8(siteDefault, 2) // compression
  fixed.writeUInt8(0, 3) // length of the realm, which munged does not use
  fixed.writeUInt32BE(fields.ttlSeconds, 4)
  fixed.writeUInt32BE(fields.uidRestriction ?? anyone, 8)
  fixed.writeUInt32BE(fields.gidRestriction ?? anyone, 12)
  fixed.writeUInt32BE(fields.payload.length, 16)
  return packMessage(messageTypes.encodeRequest, Buffer.concat([fixed, fields.payload]))
}

export function packDecodeRequest(credential: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(credential.length, 0)
  return packMessage(messageTypes.decodeRequest, Buffer.concat([length, credential]))
}

/** How long the message at the start of `bytes` is, header included; undefined while the header is incomplete. */
export function messageLength(bytes: Buffer): number | undefined {
  if (bytes.length < headerBytes) return undefined
  if (bytes.readUInt32BE(0) !== magic) throw new MungeWireError('the answer does not start with the magic number')
  if (bytes.readUInt8(4) !== version) throw new MungeWireError(`the answer has protocol version ${bytes.readUInt8(4)}`)
  const bodyBytes = bytes.readUInt32BE(7)
  if (bodyBytes > messageLimitBytes) throw new MungeWireError(`the answer claims ${bodyBytes} bytes`)
  return headerBytes + bodyBytes
}

/** Reads fields one after the other and refuses to read over the end. */
class Fields {
  readonly #bytes: Buffer
  #at = headerBytes

  constructor(message: Buffer, type: number) {
    if (message.readUInt8(5) !== type) throw new MungeWireError(`the answer has type ${message.readUInt8(5)}`)
    this.#bytes = message
  }

  bytes(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new MungeWireError('the answer is shorter than its own lengths say')
    const part = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return part
  }

  u8 = (): number => this.bytes(1).readUInt8(0)
  u32 = (): number => this.bytes(4).readUInt32BE(0)
  /** A text of munged's own, with its terminating NUL taken off. */
  text = (): string => this.bytes(this.u8()).toString('latin1').replace(/\0+$/, '')
}

export function unpackEncodeResponse(message: Buffer): EncodeResponse {
  const fields = new Fields(message, messageTypes.encodeResponse)
  const status = fields.u8()
  const text = fields.text()
  return { status, text, credential: fields.bytes(fields.u32()) }
}

export function unpackDecodeResponse(message: Buffer): DecodeResponse {
  const fields = new Fields(message, messageTypes.decodeResponse)
  const status = fields.u8()
  const text = fields.text()
  fields.bytes(3) // cipher, MAC, compression
  fields.bytes(fields.u8()) // realm
  const ttlSeconds = fields.u32()
  const address = fields.bytes(fields.u8())
  const encodedAtSeconds = fields.u32()
  fields.u32() // when it was decoded
  const uid = fields.u32()
  const gid = fields.u32()
  const restriction = (id: number) => (id === anyone ? undefined : id)
  const uidRestriction = restriction(fields.u32())
  const gidRestriction = restriction(fields.u32())
  const payload = fields.bytes(fields.u32())
  return { status, text, ttlSeconds, address, encodedAtSeconds, uid, gid, uidRestriction, gidRestriction, payload }
}
