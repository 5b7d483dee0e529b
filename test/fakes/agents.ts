// The fake hypervisor with an agent in each guest: it answers hello, identity and the wish to be a template once its VM runs.
import { createServer, type Server } from 'node:net'
import { encodeFields } from '../../lib/guest/frame/fields.ts'
import { encodeFrame, type Frame, frameType } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'
import type { DomainSpec } from '../../lib/vm/domain-xml.ts'
import type { HypervisorCallOptions } from '../../lib/vm/hypervisor.ts'
import { FakeHypervisor } from './hypervisor.ts'

export class FakeGuests extends FakeHypervisor {
  readonly #servers = new Set<Server>()
  /** What a guest answers a request of that type with: a sentence is its complaint. */
  complaint: (spec: DomainSpec, request: 'template' | 'identity') => string | undefined = () => undefined

  /** Whether a guest says nothing to its identity. */
  isSilent: (spec: DomainSpec) => boolean = () => false

  override async startPaused(spec: DomainSpec, options?: HypervisorCallOptions): Promise<void> {
    await super.startPaused(spec, options)
    const server = createServer((socket) => {
      const reader = new FrameReader({
        frame: (frame) => {
          const answer = this.specOf(spec.name) === spec ? this.#answer(spec, frame) : undefined
          if (answer !== undefined) socket.write(answer)
        },
        fault: () => {},
      })
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => reader.push(chunk))
    })
    this.#servers.add(server)
    await new Promise<void>((resolve) => server.listen(spec.agentSocketPath, resolve))
  }

  override async close(): Promise<void> {
    for (const server of this.#servers) server.close()
    await super.close()
  }

  #answer(spec: DomainSpec, { type, payload }: Frame): Buffer | undefined {
    const complain = (request: 'template' | 'identity') => {
      const text = this.complaint(spec, request)
      return text === undefined ? Buffer.alloc(0) : encodeFields([[1, text]])
    }
    if (this.stateOf(spec.name) !== 'running') return undefined
    if (type === frameType.hello) {
      const fields = encodeFields([[4, 'fresh']])
      return encodeFrame({ type: frameType.helloAck, payload: Buffer.concat([payload, fields]) })
    }
    if (type === frameType.template)
      return encodeFrame({ type: frameType.templateReady, payload: complain('template') })
    if (type === frameType.identity && this.isSilent(spec)) return undefined
    if (type === frameType.identity) return encodeFrame({ type: frameType.identityDone, payload: complain('identity') })
    return undefined
  }
}
