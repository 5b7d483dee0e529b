// munged and vmrmd: do they answer, here and between hosts, and do the clocks agree?
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { controllerClient } from '../../daemon/cluster-peers.ts'
import { release } from '../../daemon/release.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { mungeDecode, mungeEncode } from '../../munge/client.ts'
import { createClient, type ProtocolClient } from '../../protocol/client.ts'
import { uidOf } from '../uid-of.ts'
import { type Check, type Finding, fail, ok, roles, warn } from './check.ts'

const answerMs = 5_000

const munged: Check = {
  name: 'munged',
  roles,
  async run({ config }) {
    const options = { socketPath: config.munge.socket, timeoutMs: answerMs }
    try {
      await mungeDecode(await mungeEncode({ ...options, payload: Buffer.from('vmrm doctor') }), options)
      return [ok(`${config.munge.socket} answers`)]
    } catch (thrown) {
      return [
        fail(
          toVmrmError(thrown).message,
          'Neither Slurm nor vmrm can tell who sends a message.',
          'systemctl start munge; then see /var/log/munge/munged.log',
        ),
      ]
    }
  },
}

async function withClient<T>(client: ProtocolClient, work: (client: ProtocolClient) => Promise<T>): Promise<T> {
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

function localClient(config: DaemonConfig, role: 'node' | 'controller'): ProtocolClient {
  const path = join(config.paths.runtime, `${role}.sock`)
  return createClient({ connect: { kind: 'local', path }, unreachable: 'daemon-unreachable' })
}

const notRunning = (role: 'node' | 'controller'): string =>
  `systemctl start vmrmd-${role}; then journalctl -u vmrmd-${role}`

const nodeDaemon: Check = {
  name: 'vmrmd-node',
  roles: ['node'],
  async run({ config }) {
    try {
      const status = await withClient(localClient(config, 'node'), (client) =>
        client.call('node-status', {}, { timeoutMs: answerMs }),
      )
      if (status.health === 'fault')
        return [
          fail(
            `vmrmd of node ${status.node} cannot start VMs: ${status.reason ?? 'libvirtd does not answer it'}`,
            'VM jobs that come here drain the node.',
            'systemctl restart libvirtd; the other checks may say more.',
          ),
        ]
      if (status.release !== release)
        return [
          warn(
            `vmrmd is release ${status.release}, this program ${release}`,
            'The package was renewed, but the old daemon still runs.',
            'systemctl restart vmrmd-node (this disturbs no job)',
          ),
        ]
      return [ok(`vmrmd ${status.release} of node ${status.node} answers; runs: ${status.runs.length}`)]
    } catch (thrown) {
      const text = toVmrmError(thrown).message
      return [fail(text, 'The Prolog of a VM job fails here and drains the node.', notRunning('node'))]
    }
  },
}

const controllerDaemon: Check = {
  name: 'vmrmd-controller',
  roles: ['controller'],
  async run({ config }) {
    try {
      const { images } = await withClient(localClient(config, 'controller'), (client) =>
        client.call('list-images', {}, { timeoutMs: answerMs }),
      )
      return [ok(`vmrmd answers; images: ${images.length}`)]
    } catch (thrown) {
      const text = toVmrmError(thrown).message
      return [fail(text, 'No VM job can start: runs are not planned.', notRunning('controller'))]
    }
  },
}

/** Every host asks over TCP, as its users and its daemon do. */
const overMunge: Check = {
  name: 'controller-over-munge',
  roles,
  async run({ config }) {
    const { host, port, user } = config.controller
    try {
      const slurmUid = await uidOf(user)
      const client = controllerClient(config, { name: 'user', ownUid: process.getuid?.() ?? 0, slurmUid })
      await withClient(client, (asked) => asked.call('list-images', {}, { timeoutMs: answerMs }))
      return [ok(`the controller ${host} answers on port ${port}`)]
    } catch (thrown) {
      const error = toVmrmError(thrown)
      return [
        fail(
          `${error.message}${error.hint === '' ? '' : ` (${error.hint})`}`,
          'This host cannot ask the controller: its VM jobs wait and fail, its users submit unchecked.',
          `Start vmrmd on ${host}, open TCP port ${port} to this host, and compare /etc/munge/munge.key and the clocks.`,
        ),
      ]
    }
  },
}

/** MUNGE takes credentials up to 300 s old; Slurm's own advice is to keep hosts within a second. */
const warnSeconds = 5
const failSeconds = 60

const clocks: Check = {
  name: 'clocks',
  roles: ['node', 'submit'],
  async run({ slurm }) {
    const found = await slurm()
    if (found?.controllerTime === undefined) return []
    // The controller's time is cut to the second.
    const differenceSeconds = Math.round((found.askedAt.getTime() - found.controllerTime.getTime() - 500) / 1000)
    const text = `this host's clock is ${Math.abs(differenceSeconds)} s ${differenceSeconds < 0 ? 'behind' : 'ahead of'} the controller's`
    const mend = 'Run chrony (or another NTP client) on all hosts; see `chronyc tracking`.'
    const problems: Finding[] =
      Math.abs(differenceSeconds) > failSeconds
        ? [fail(text, 'MUNGE refuses credentials of other hosts.', mend)]
        : Math.abs(differenceSeconds) > warnSeconds
          ? [warn(text, 'Soon MUNGE will refuse credentials of other hosts; guests get this time, too.', mend)]
          : [ok("this host's clock agrees with the controller's")]
    return problems
  },
}

export const daemonChecks: readonly Check[] = [munged, nodeDaemon, controllerDaemon, overMunge, clocks]
