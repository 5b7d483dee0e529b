// The leak ledger: everything of vmrm that a job could leave on the cluster's hosts, as sorted names that can be compared.
// It looks from outside where it can, so that a broken daemon cannot hide anything; it never changes what it looks at.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { hierarchies } from '../cluster/cgroups.ts'
import { findDaemon } from '../cluster/daemons.ts'
import { attempt } from '../cluster/exec.ts'
import type { Host, Layout } from '../cluster/layout.ts'
import { enter, type RunningHost, runningHosts } from '../cluster/namespaces.ts'
import { servicesNamespace } from '../cluster/nfs.ts'
import { commandLineOf, membersOfPidNamespace, namespaceOf } from '../cluster/procfs.ts'
import { readLeases } from './leases.ts'

/** Key: host and what is listed, such as `n1 domains`. Value: sorted names. */
export type Ledger = ReadonlyMap<string, readonly string[]>

/** Paths of everything below a folder, relative to it; none where it does not exist. */
function treeOf(folder: string): string[] {
  return orNone(folder, () => readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort())
}

function foldersOf(folder: string): string[] {
  return orNone(folder, () => readdirSync(folder, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => [entry.name, ...foldersOf(join(folder, entry.name)).map((name) => join(entry.name, name))])
}

/** What is looked at may go meanwhile, folders in it before the folder itself; each look finds less. */
function orNone<T>(folder: string, look: () => T[]): T[] {
  for (let leftTries = 1000; existsSync(folder); leftTries--) {
    try {
      return look()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || leftTries === 0) throw error
    }
  }
  return []
}

async function linesFrom(running: RunningHost, argv: readonly string[]): Promise<string[]> {
  const result = await attempt(enter(running, argv), { timeoutMs: 15_000 })
  if (result.exitCode !== 0) return [`(${argv.join(' ')} failed: ${result.stderr.trim().split('\n')[0]})`]
  return result.stdout.split('\n').filter((line) => line.trim() !== '')
}

async function domains(host: Host, running: RunningHost): Promise<string[]> {
  if (findDaemon(host, 'libvirtd') === undefined) return ['(libvirtd is down)']
  return linesFrom(running, ['/usr/bin/virsh', '--connect', 'qemu:///system', 'list', '--all', '--name'])
}

/** `prefix` is a command that enters one of the host's network namespaces, or nothing. */
async function network(running: RunningHost, prefix: readonly string[]): Promise<Record<string, string[]>> {
  const links = await linesFrom(running, [...prefix, '/usr/sbin/ip', '-brief', 'link'])
  const rules = await linesFrom(running, [...prefix, '/usr/sbin/nft', '--stateless', 'list', 'ruleset'])
  const addresses = await linesFrom(running, [...prefix, '/usr/sbin/ip', '-brief', 'address'])
  return {
    devices: links.map((line) => line.split(/[\s@]/)[0] ?? ''),
    addresses: addresses.map(withoutBootsOwn),
    nft: rules,
  }
}

/** Device and addresses; the number of its other end and what follows from a random MAC are new when a host boots again. */
function withoutBootsOwn(line: string): string {
  const [device = '', , ...addresses] = line.trim().split(/\s+/)
  return [device.replace(/@.*/, ''), ...addresses.filter((address) => !address.startsWith('fe80:'))].join(' ')
}

function mounts(running: RunningHost): string[] {
  const lines = readFileSync(`/proc/${running.init.pid}/mountinfo`, 'utf8').trim().split('\n')
  return lines.map((line) => line.split(' ')[4] ?? '')
}

/** Processes of VMs and of vmrm's helpers; daemons of the host are not leaks. */
function processes(running: RunningHost): string[] {
  const space = namespaceOf(running.init.pid, 'pid')
  if (space === undefined) return []
  return (
    membersOfPidNamespace(space)
      .map((pid) => commandLineOf(pid))
      .filter(([file = '']) => /^(qemu-|vmrm-|slurmstepd)/.test(basename(file)))
      // libvirtd asks each QEMU what it can do, when it pleases: no VM.
      .filter((argv) => !argv[argv.indexOf('-machine') + 1]?.startsWith('none'))
      .map((argv) => argv.slice(0, 4).join(' '))
  )
}

function cgroups(layout: Layout, host: Host): string[] {
  return hierarchies().flatMap(({ mountPoint }) => {
    const group = join(mountPoint, layout.cgroup, host.name)
    return (
      foldersOf(group)
        // What is below vmrm's own group; that itself stays once it was needed.
        .filter((name) => /(^|\/)vmrm\/./.test(name))
        .map((name) => join(mountPoint, name))
    )
  })
}

async function hostLedger(layout: Layout, host: Host, running: RunningHost): Promise<Record<string, string[]>> {
  const services = ['/usr/bin/nsenter', `--net=/run/netns/${servicesNamespace}`, '--']
  const isNode = host.role === 'node'
  const [found, own, inside] = await Promise.all([
    isNode ? domains(host, running) : [],
    network(running, []),
    isNode ? network(running, services) : {},
  ])
  const state = join(host.folder, 'var/lib/vmrm')
  return {
    domains: found,
    ...own,
    ...Object.fromEntries(Object.entries(inside).map(([name, lines]) => [`services ${name}`, lines])),
    runs: treeOf(join(state, 'runs')),
    exports: treeOf(join(state, 'exports')),
    // Whole ones are there to stay, for the next job.
    'half templates': treeOf(join(state, 'templates')).filter((name) => !/^[0-9a-f]{24}(\/|$)/.test(name)),
    'state files': treeOf(state).filter((name) => !/^(runs|exports|controller|templates)(\/|$)/.test(name)),
    markers: treeOf(join(host.folder, 'run/vmrm/jobs')),
    mounts: mounts(running),
    cgroups: cgroups(layout, host),
    processes: processes(running),
    leases: host.role === 'controller' ? await readLeases(host) : [],
  }
}

/** What is there now. A host that does not run is listed as such. */
export async function takeLedger(layout: Layout): Promise<Ledger> {
  const running = runningHosts(layout)
  const ledger = new Map<string, readonly string[]>()
  await Promise.all(
    layout.hosts.map(async (host) => {
      const each = running.get(host.name)
      const lists = each === undefined ? { host: ['(does not run)'] } : await hostLedger(layout, host, each)
      for (const [name, lines] of Object.entries(lists)) ledger.set(`${host.name} ${name}`, lines.toSorted())
    }),
  )
  return ledger
}

/** Removes one occurrence of each of `taken` from `lines`. */
function without(lines: readonly string[], taken: readonly string[]): string[] {
  const rest = [...lines]
  for (const line of taken) {
    const at = rest.indexOf(line)
    if (at >= 0) rest.splice(at, 1)
  }
  return rest
}

/** One line a difference: `n1 domains: + j5r0v0` is there now, `-` is gone. Empty: equal. */
export function compareLedgers(before: Ledger, after: Ledger): string[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort()
  return names.flatMap((name) => {
    const [old, now] = [before.get(name) ?? [], after.get(name) ?? []]
    return [
      ...without(now, old).map((line) => `${name}: + ${line}`),
      ...without(old, now).map((line) => `${name}: - ${line}`),
    ]
  })
}
