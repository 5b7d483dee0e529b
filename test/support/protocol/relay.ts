// Someone on the network between client and server: sees every frame, and may hold, change, repeat or add some.
import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { FrameReader, toFrame } from '../../../lib/protocol/transport/framing.ts'

export type Direction = 'to-server' | 'to-client'

export interface Relay {
  readonly port: number
  /** Everything that was seen, in order. */
  readonly seen: { readonly direction: Direction; readonly frame: Buffer }[]
}

/** What to pass on instead of a frame; `nth` counts the frames of that direction on that connection from 0. */
export type Meddle = (options: {
  direction: Direction
  frame: Buffer
  nth: number
  back: (frame: Buffer) => void
}) => Buffer[]

function pass(options: { from: Socket; to: Socket; direction: Direction; meddle: Meddle; seen: Relay['seen'] }): void {
  const { from, to, direction, meddle, seen } = options
  const reader = new FrameReader()
  let nth = 0
  from.on('data', (chunk: Buffer) => {
    for (const frame of reader.push(chunk)) {
      seen.push({ direction, frame })
      const back = (answer: Buffer) => from.write(toFrame(answer))
      for (const passed of meddle({ direction, frame, nth, back })) to.write(toFrame(passed))
      nth += 1
    }
  })
  from.on('close', () => to.destroy())
  from.on('error', () => to.destroy())
}

export async function startRelay(t: Test, serverPort: number, meddle: Meddle = ({ frame }) => [frame]): Promise<Relay> {
  const seen: Relay['seen'] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const onward = connect(serverPort, '127.0.0.1')
    for (const socket of [client, onward]) sockets.add(socket)
    pass({ from: client, to: onward, direction: 'to-server', meddle, seen })
    pass({ from: onward, to: client, direction: 'to-client', meddle, seen })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, seen }
}
