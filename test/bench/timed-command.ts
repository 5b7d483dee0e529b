// Times one command on the cluster from its start, as its user sees it. It owns one process and ends it with the bound.
import type { Cluster } from '../support/cluster.ts'

export interface Timing {
  /** From the start of the command to the first byte of its standard output. */
  readonly firstByteMs: number
  /** To its end. */
  readonly endMs: number
  readonly bytes: number
  /** Between the first and the last chunk of standard output, and the bytes after the first chunk. */
  readonly streamMs: number
  readonly streamBytes: number
  /** The first KiB of it. */
  readonly text: string
}

export interface TimedCommand {
  readonly argv: readonly string[]
  readonly user: string
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Throws with its words where it does not exit 0 within the time. */
export async function timeCommand(cluster: Cluster, wanted: TimedCommand): Promise<Timing> {
  const bound = AbortSignal.any([wanted.signal, AbortSignal.timeout(wanted.timeoutMs)])
  bound.throwIfAborted()
  const startedMs = performance.now()
  const child = cluster.start(wanted.argv, { user: wanted.user })
  const kill = (): void => void child.kill('SIGKILL')
  bound.addEventListener('abort', kill)
  let [firstMs, lastMs, bytes, firstBytes] = [0, 0, 0, 0]
  let [text, words] = ['', '']
  child.stdout?.on('data', (chunk: Buffer) => {
    lastMs = performance.now()
    if (bytes === 0) [firstMs, firstBytes] = [lastMs, chunk.length]
    bytes += chunk.length
    if (text.length < 1024) text += chunk.toString('latin1', 0, 1024)
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString('latin1')).slice(-4000)
  })
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  child.once('error', reject)
  const code = await promise.finally(() => bound.removeEventListener('abort', kill))
  const endMs = performance.now() - startedMs
  bound.throwIfAborted()
  if (code !== 0) throw new Error(`${wanted.argv.join(' ')} ended with ${code}:\n${words}${text}`)
  return {
    firstByteMs: firstMs - startedMs,
    endMs,
    bytes,
    streamMs: lastMs - firstMs,
    streamBytes: bytes - firstBytes,
    text,
  }
}
