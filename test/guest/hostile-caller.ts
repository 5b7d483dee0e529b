// A caller that says what it likes: run in a guest, it sends the fields of argv[2] (a list of [tag, hex]) as the spec of a call of argv[3], and prints
// what comes back: the command's stdout, the error's text, or `closed`. argv[4] (hex frames' bytes) is sent instead where it is given.
import { connect } from 'node:net'
import { decodeFields, encodeFields, textOf } from '../../lib/guest/frame/fields.ts'
import { encodeFrame, type Frame, frameType, streamNumber } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'
import { flagEnd } from './stream-fields.ts'

const [, , spec = '[]', command = 'srun', bytes] = process.argv
const session = BigInt(process.pid) * 7919n + 1n
const socket = connect('/run/vmrm/call.sock')
let isOpen = false

let isOver = false

function end(text: string): void {
  if (isOver) return
  isOver = true
  process.stdout.write(text, () => process.exit(0))
}

function sendSpec(): void {
  const fields = (JSON.parse(spec) as [number, string][]).map(([tag, hex]): [number, Buffer] => [
    tag,
    Buffer.from(hex, 'hex'),
  ])
  const all = bytes === undefined ? encodeFields(fields) : Buffer.from(bytes, 'hex')
  socket.write(encodeFrame({ type: frameType.open, session }))
  for (let at = 0; at <= all.length; at += 60_000) {
    const part = all.subarray(at, at + 60_000)
    const isLast = at + 60_000 > all.length
    socket.write(
      encodeFrame({
        ...{ type: frameType.data, stream: streamNumber.spec, session, offset: BigInt(at), payload: part },
        flags: isLast ? flagEnd : 0,
      }),
    )
  }
}

function take(frame: Frame): void {
  const fields = decodeFields(frame.payload) ?? []
  if (frame.type === frameType.resume && !isOpen) {
    isOpen = true
    sendSpec()
  } else if (frame.type === frameType.data && frame.stream === streamNumber.stdout) {
    process.stdout.write(frame.payload)
  } else if (frame.type === frameType.error) {
    end(`error: ${[...fields].map((each) => each.value.toString('latin1')).join('|')}\n`)
  } else if (frame.type === frameType.kill) {
    end(`kill: ${textOf(fields, 1) ?? ''}\n`)
  } else if (frame.type === frameType.exit) {
    end('')
  }
}

const reader = new FrameReader({ frame: take, fault: (why) => end(`fault: ${why}\n`) })
socket.on('data', (chunk: Buffer) => reader.push(chunk))
socket.on('close', () => end('closed\n'))
socket.on('error', () => end('closed\n'))
socket.write(encodeFrame({ type: frameType.call, session, payload: encodeFields([[2, command]]) }))
