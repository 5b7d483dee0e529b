// Boots an image with QEMU alone, as an experienced user would by hand: the baseline for vmrm's own times, and the
// way to test an image without vmrm. It owns one QEMU and its scratch files; it never writes to the master.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Image } from '../../lib/config/image-schema.ts'
import type { Field } from '../../lib/guest/frame/fields.ts'
import { readImageSize } from '../../lib/image/master.ts'
import { createOverlay } from '../../lib/image/overlay.ts'
import type { DiskFormat } from '../../lib/image/qcow2.ts'
import { askHello } from './ask-hello.ts'

const qemu = '/usr/bin/qemu-system-x86_64'
const qemuImg = '/usr/bin/qemu-img'
const agentPort = 'org.vmrm.agent.0'
const keptConsoleBytes = 1 << 20
/** The address of the guest's network card; QEMU's user-mode network gives it 10.0.2.15. */
export const handMac = '52:54:00:12:34:56'

export interface HandBootOptions {
  readonly image: Image
  /** Default 128. */
  readonly memoryMib?: number
  /** Default 1. */
  readonly cpus?: number
  /** TCP port of 127.0.0.1 that leads to the guest's port 22; default none. */
  readonly sshPort?: number
  /** QEMU's -cpu; default qemu64. */
  readonly cpu?: string
  /** Cache of translated code; default QEMU's own, 1 GiB. */
  readonly tcgCacheMib?: number
  /** Words added to the kernel's command line. */
  readonly commandLine?: string
  /** The address of its network card; default `handMac`. */
  readonly mac?: string
  /** What its own disk lies over, which is then written without a process; default the image's master, by qemu-img. */
  readonly backing?: { readonly path: string; readonly format: DiskFormat }
  /** Further arguments for QEMU. */
  readonly qemuArguments?: readonly string[]
  /** What the guest reaches over its network: 'nothing' (default), or as 10.0.2.2 the loopback of where QEMU runs. */
  readonly reach?: 'nothing' | 'loopback'
  /** argv that becomes QEMU by exec, such as nsenter's; default none. */
  readonly runner?: readonly string[]
}

export interface QemuEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** From the start of QEMU. */
  readonly afterMs: number
}

export interface HandBootedVm {
  readonly pid: number
  /** The host's end of the agent's port; only one connection at a time. */
  readonly portPath: string
  /** Unix socket of QEMU's monitor (QMP). */
  readonly monitorPath: string
  /** Its own disk. */
  readonly overlayPath: string
  /** What the guest has written to its console; at most the last MiB. */
  console(): string
  /** Resolves with the time since QEMU's start at which the console had `text`. Rejects after the bound or QEMU's end. */
  awaitConsole(text: string, timeoutMs: number): Promise<number>
  /** Connects to the port and asks HELLO until the agent answers. Rejects after the bound or QEMU's end. */
  awaitAgent(timeoutMs: number): Promise<AgentAnswer>
  /** QEMU's end, whoever ended it. */
  readonly ended: Promise<QemuEnd>
  /** Kills QEMU if it lives and removes its files; may be called twice. */
  stop(): Promise<void>
}

export interface AgentAnswer {
  /** From the start of QEMU to the HELLO_ACK. */
  readonly afterMs: number
  /** The fields of the HELLO_ACK. */
  readonly fields: readonly Field[]
  /** Connected and past the HELLO_ACK; the caller ends it. */
  readonly socket: Socket
}

function qemuArgv(options: HandBootOptions, folder: string): string[] {
  const { boot } = options.image
  if (boot.kind !== 'direct') throw new RangeError(`${options.image.name} has no kernel to boot directly`)
  const commandLine = [boot.commandLine, options.commandLine ?? ''].join(' ').trim()
  const forward = options.sshPort === undefined ? '' : `,hostfwd=tcp:127.0.0.1:${options.sshPort}-:22`
  const chardevs = [
    ...['-chardev', `socket,id=agent,path=${join(folder, 'agent.sock')},server=on,wait=off`],
    ...['-device', 'virtio-serial-pci', '-device', `virtserialport,chardev=agent,name=${agentPort}`],
    ...['-qmp', `unix:${join(folder, 'qmp.sock')},server=on,wait=off`, '-serial', 'stdio'],
  ]
  return [
    ...[
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-no-reboot',
      '-machine',
      'q35',
      '-accel',
      options.tcgCacheMib === undefined ? 'tcg' : `tcg,tb-size=${options.tcgCacheMib}`,
      '-cpu',
      options.cpu ?? 'qemu64',
    ],
    ...['-m', String(options.memoryMib ?? 128), '-smp', String(options.cpus ?? 1)],
    ...['-kernel', boot.kernel, ...(boot.initrd === undefined ? [] : ['-initrd', boot.initrd]), '-append', commandLine],
    ...['-drive', `file=${join(folder, 'overlay.qcow2')},if=virtio,format=qcow2,cache=unsafe`],
    ...[
      '-netdev',
      `user,id=net,restrict=${options.reach === 'loopback' ? 'off' : 'on'}${forward}`,
      '-device',
      `virtio-net-pci,netdev=net,romfile=,mac=${options.mac ?? handMac}`,
    ],
    ...['-device', 'virtio-rng-pci', '-device', 'pvpanic', ...chardevs, ...(options.qemuArguments ?? [])],
  ]
}

/** Keeps the console's tail and lets callers wait for a text in it. */
class ConsoleLog {
  #text = ''
  readonly #startedMs: number
  readonly #waiters = new Set<() => void>()

  constructor(startedMs: number) {
    this.#startedMs = startedMs
  }

  add(chunk: Buffer): void {
    this.#text = (this.#text + chunk.toString('latin1')).slice(-keptConsoleBytes)
    for (const check of this.#waiters) check()
  }

  text(): string {
    return this.#text
  }

  async wait(text: string, timeoutMs: number, ended: Promise<QemuEnd>): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    const check = (): void => {
      if (this.#text.includes(text)) resolve(performance.now() - this.#startedMs)
    }
    const fail = (why: string): void =>
      reject(new Error(`no ${JSON.stringify(text)}: ${why}\n${this.#text.slice(-2000)}`))
    const timer = setTimeout(() => fail(`not within ${timeoutMs} ms`), timeoutMs)
    void ended.then((end) => fail(`QEMU ended with ${end.code ?? end.signal}`))
    this.#waiters.add(check)
    check()
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#waiters.delete(check)
    }
  }
}

function whenEnded(child: ChildProcess, startedMs: number): Promise<QemuEnd> {
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, afterMs: performance.now() - startedMs }))
    child.once('error', () => resolve({ code: null, signal: null, afterMs: performance.now() - startedMs }))
  })
}

async function makeOverlay(overlay: string, { backing, image }: HandBootOptions): Promise<void> {
  if (backing !== undefined) {
    const virtualSizeBytes = await readImageSize(image.master.path, image.master.format)
    await createOverlay({ path: overlay, backingPath: backing.path, backingFormat: backing.format, virtualSizeBytes })
    return
  }
  const { path, format } = image.master
  await execa(qemuImg, ['create', '-q', '-f', 'qcow2', '-F', format, '-b', path, overlay], { timeout: 30_000 })
}

/** Starts QEMU on a fresh overlay of the image's master. The caller must stop it. */
export async function bootByHand(options: HandBootOptions): Promise<HandBootedVm> {
  const folder = await mkdtemp(join(tmpdir(), 'vmrm-by-hand-'))
  await mkdir(folder, { recursive: true })
  await makeOverlay(join(folder, 'overlay.qcow2'), options)
  const startedMs = performance.now()
  const [file = qemu, ...argv] = [...(options.runner ?? []), qemu, ...qemuArgv(options, folder)]
  const child = spawn(file, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: '/usr/bin' } })
  const ended = whenEnded(child, startedMs)
  const log = new ConsoleLog(startedMs)
  child.stdout?.on('data', (chunk: Buffer) => log.add(chunk))
  child.stderr?.on('data', (chunk: Buffer) => log.add(chunk))
  const portPath = join(folder, 'agent.sock')
  return {
    pid: child.pid ?? 0,
    portPath,
    monitorPath: join(folder, 'qmp.sock'),
    overlayPath: join(folder, 'overlay.qcow2'),
    console: () => log.text(),
    awaitConsole: (text, timeoutMs) => log.wait(text, timeoutMs, ended),
    async awaitAgent(timeoutMs) {
      try {
        const answer = await askHello(portPath, timeoutMs)
        return { ...answer, afterMs: performance.now() - startedMs }
      } catch (cause) {
        throw new Error(`${(cause as Error).message}; the console's end:\n${log.text().slice(-2000)}`, { cause })
      }
    },
    ended,
    async stop() {
      child.kill('SIGKILL')
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}
