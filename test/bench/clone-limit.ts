// The limit for clones: QEMU alone, without libvirt, Slurm or vmrmd, restores one template with its memory shared copy on
// write, and each guest becomes a machine of its own and answers. It owns the template and ends every QEMU.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { DaemonConfig } from '../../lib/config/daemon-schema.ts'
import type { Image } from '../../lib/config/image-schema.ts'
import type { Account } from '../../lib/daemon/account.ts'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import type { GuestIdentity } from '../../lib/guest/channel/identity.ts'
import { createLog } from '../../lib/log.ts'
import { packAddresses, packNames } from '../../lib/network/sequences.ts'
import { Ed25519Key, seedBytes } from '../../lib/ssh/ed25519.ts'
import { privateKeyFile } from '../../lib/ssh/private-key-file.ts'
import { secretBytes, vmSshKeys } from '../../lib/ssh/run-keys.ts'
import { domainUuid } from '../../lib/vm/domain-uuid.ts'
import type { RunningHost } from '../cluster/namespaces.ts'
import { type HandTemplate, type PausedClone, templateByHand } from '../support/clone-by-hand.ts'
import { type Answer, factsArgv, type PlannedMachine, parseAnswers, problemsOf } from './clone-answers.ts'
import { besideFileServer, exportedHome, firstOutput } from './hand-run.ts'
import { inTurn } from './in-turn.ts'
import { cpuSeconds, pssMb } from './process-cost.ts'

const boundMs = 300_000
/** Beyond QEMU's own addresses in its user-mode network, which each guest has for itself. */
const firstHost = 16
const run = 'j1r0'

export interface LimitOptions {
  readonly image: Image
  readonly config: DaemonConfig
  readonly account: Account
  readonly memoryMib: number
  /** The node whose file server is used. */
  readonly node: RunningHost
  readonly signal: AbortSignal
}

/** Times from the first spawn. */
export interface LimitRun {
  readonly identifiedMs: number
  readonly answeredMs: number
  readonly cpuSeconds: number
  readonly pssMb: number
}

const log = createLog({ level: 'error', write: (line: string) => void process.stderr.write(line) })

interface Machine extends PlannedMachine {
  readonly index: number
  readonly uuid: string
}

function machines(n: number): readonly Machine[] {
  return Array.from({ length: n }, (_, index) => {
    const hex = index.toString(16).padStart(2, '0')
    const uuid = domainUuid({ cluster: 'limit', vm: `${run}v${index}` })
    return {
      ...{ index, uuid, machineId: uuid.replaceAll('-', '') },
      hostname: `limit-${String(index + 1).padStart(4, '0')}`,
      address: `10.0.2.${firstHost + index}`,
      mac: `52:54:00:00:ab:${hex}`,
    }
  })
}

export class Limit {
  readonly #options: LimitOptions
  readonly #template: HandTemplate
  readonly #secret = randomBytes(secretBytes)
  /** From QEMU's start to the end of saving. */
  readonly makeMs: number

  private constructor(options: LimitOptions, template: HandTemplate, makeMs: number) {
    this.#options = options
    this.#template = template
    this.makeMs = makeMs
  }

  static async open(options: LimitOptions): Promise<Limit> {
    const { image, memoryMib, config, node } = options
    const beganMs = performance.now()
    const template = await templateByHand(
      {
        ...{ image, memoryMib, reach: 'loopback', runner: besideFileServer(node) },
        // As renderDomainXml has it.
        ...{ cpu: 'max,la57=off', tcgCacheMib: config.hypervisor.tcgCacheMib },
      },
      async (vm) => {
        const signal = AbortSignal.any([options.signal, AbortSignal.timeout(boundMs)])
        const channel = new GuestChannel({ path: vm.portPath, vm: 'template', log })
        try {
          await channel.open(signal)
          const sshHostKey = privateKeyFile(new Ed25519Key(randomBytes(seedBytes)), 'template')
          await channel.prepareTemplate(signal, { sshHostKey })
        } finally {
          channel.close()
        }
      },
    )
    return new Limit(options, template, performance.now() - beganMs)
  }

  /** N machines, `atOnce` of them between their spawn and their answer at the same time. Throws where one is not as planned. */
  async run(n: number, atOnce: number): Promise<LimitRun> {
    const clones: PausedClone[] = []
    const channels: GuestChannel[] = []
    const planned = machines(n)
    const answers: Answer[] = []
    let identifiedMs = 0
    const signal = AbortSignal.any([this.#options.signal, AbortSignal.timeout(boundMs)])
    try {
      const beganMs = performance.now()
      await inTurn(planned, atOnce, async (machine) => {
        const clone = await this.#template.clone({ mac: machine.mac, genid: machine.uuid })
        clones.push(clone)
        const channel = new GuestChannel({ path: clone.vm.portPath, vm: machine.hostname, log })
        channels.push(channel)
        const opened = channel.open(signal)
        opened.catch(() => {}) // it is awaited below
        await clone.resume()
        await opened
        await channel.identify(this.#identityOf(machine, planned), signal)
        identifiedMs = performance.now() - beganMs
        const { home } = this.#options.account
        const output = await firstOutput(channel, { argv: factsArgv, home, signal })
        answers.push(...parseAnswers(output.toString('utf8')))
      })
      const answeredMs = performance.now() - beganMs
      const problems = problemsOf(answers, planned)
      if (problems.length > 0) throw new Error(`clones of QEMU alone: ${problems.join('; ')}`)
      const pids = clones.map(({ vm }) => vm.pid)
      return { identifiedMs, answeredMs, cpuSeconds: cpuSeconds(pids), pssMb: pssMb(pids) }
    } finally {
      for (const channel of channels) channel.close()
      await Promise.all(clones.map(({ vm }) => vm.stop()))
    }
  }

  close(): Promise<void> {
    return this.#template.remove()
  }

  /** All that vmrmd's has, by the same file server; only the network is QEMU's own. */
  #identityOf(machine: Machine, all: readonly Machine[]): GuestIdentity {
    const { account, config, image, node } = this.#options
    const { index, hostname, address, mac, uuid } = machine
    return {
      ...{ run, uuid, hostname, node: node.name, user: account, groups: account.groups, mounts: [exportedHome] },
      nics: [{ mac, address: `${address}/24`, mtu: image.network.mtu }],
      hosts: {
        addresses: packAddresses(all.map((each) => each.address)),
        hostnames: packNames(all.map((each) => each.hostname)),
        ...{ nodes: node.name, vms: String(all.length) },
      },
      ssh: vmSshKeys({ secret: this.#secret, run, index, names: [hostname, address] }),
      commands: config.relay.commands.split(' ').map((name) => join(config.slurm.commands, name)),
      timeNs: BigInt(Date.now()) * 1_000_000n,
      entropy: randomBytes(64),
    }
  }
}
