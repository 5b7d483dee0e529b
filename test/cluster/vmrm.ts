// vmrm's own parts: laid out from build/ as on an installed host, vmrmd.xml, the catalogue, and the daemon of each role.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { acceptsOnSocket, type DaemonSpec } from './daemons.ts'
import type { Host, Layout } from './layout.ts'
import { overlayFolder } from './slurm.ts'
import { chownTree, machineUid } from './users.ts'

const binaryLinks = ['vmrmd', 'vmrm-prolog', 'vmrm-epilog', 'vmrm-prolog-slurmctld', 'vmrm-epilog-slurmctld'] as const
const cParts = ['vmrm-run', 'vmrm-gate', 'vmrm-agent', 'vmrm.so', 'seed.iso'] as const
const ruleFiles = ['vmrm.lua', 'job.lua', 'choice.lua', 'size.lua'] as const
const gateLinks = ['prolog', 'epilog', 'prolog-slurmctld', 'epilog-slurmctld'] as const

const binaryPath = (layout: Layout): string => join(layout.repository, 'build/vmrm')

/** Whether `npm run build` has been run. */
export const isBuilt = (layout: Layout): boolean => existsSync(binaryPath(layout))

/** A new inode for a new build, so that a daemon that runs the old binary goes on undisturbed. */
function install(from: string, to: string): void {
  const [source, there] = [statSync(from), statSync(to, { throwIfNoEntry: false })]
  if (there !== undefined && there.size === source.size && there.mtimeMs >= source.mtimeMs) return
  rmSync(to, { force: true })
  copyFileSync(from, to)
}

function link(target: string, path: string): void {
  rmSync(path, { force: true })
  symlinkSync(target, path)
}

/** Fills the folder that is /usr/lib/vmrm of every host; again and again, so that a new build takes effect on `up`. */
export function layOutParts(layout: Layout): void {
  const folder = join(layout.folder, 'usr-lib-vmrm')
  mkdirSync(join(folder, 'gate'), { recursive: true })
  mkdirSync(join(layout.folder, 'skeleton/usr/bin'), { recursive: true })
  install(binaryPath(layout), join(folder, 'vmrm'))
  for (const name of binaryLinks) link('vmrm', join(folder, name))
  for (const name of cParts) {
    const built = join(layout.repository, 'build/c', name)
    if (existsSync(built)) install(built, join(folder, name))
  }
  mkdirSync(join(folder, 'job_submit'), { recursive: true })
  for (const name of ruleFiles)
    install(join(layout.repository, 'slurm-conf-snippets/job_submit', name), join(folder, 'job_submit', name))
  for (const name of gateLinks) link('../vmrm-gate', join(folder, 'gate', name))
  link('../lib/vmrm/vmrm', join(layout.folder, 'skeleton/usr/bin/vmrm'))
}

/** Catalogue entries that test/images made, copied to where every host has /etc/vmrm/images.d. */
export function copyCatalogue(layout: Layout): void {
  const target = join(layout.folder, 'images.d')
  mkdirSync(target, { recursive: true })
  if (!existsSync(layout.images)) return
  for (const name of readdirSync(layout.images)) {
    if (name.endsWith('.xml')) copyFileSync(join(layout.images, name), join(target, name))
  }
}

export function writeDaemonConfiguration(layout: Layout, host: Host): void {
  const folder = join(host.folder, 'etc/vmrm')
  mkdirSync(folder, { recursive: true })
  const template = readFileSync(join(overlayFolder, 'vmrmd.xml'), 'utf8')
  const controller = layout.hosts.find((each) => each.role === 'controller')
  writeFileSync(join(folder, 'vmrmd.xml'), template.replaceAll('@CONTROLLER_ADDRESS@', controller?.address ?? ''))
}

/** The controller role runs as SlurmUser and owns its state and its socket's folder. */
function makeControllerFolders(host: Host): void {
  for (const folder of ['var/lib/vmrm/controller', 'run/vmrm']) {
    mkdirSync(join(host.folder, folder), { recursive: true })
    chownTree(join(host.folder, folder), machineUid('slurm'))
  }
}

export function vmrmdSpec(host: Host): DaemonSpec {
  const role = host.role
  const daemon = ['/usr/lib/vmrm/vmrmd', '--role', role, '--config', '/etc/vmrm/vmrmd.xml']
  const asSlurm = ['/usr/bin/setpriv', '--reuid=slurm', '--regid=slurm', '--init-groups', '--']
  return {
    name: 'vmrmd',
    argv: role === 'controller' ? [...asSlurm, ...daemon] : daemon,
    prepare: async () => {
      if (role === 'controller') makeControllerFolders(host)
    },
    isReady: ({ running }) => acceptsOnSocket(running, `/run/vmrm/${role}.sock`),
    readyTimeoutMs: 15_000,
  }
}
