// The services namespace of a node, and the NFS server in it.
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { namespacePath } from '../../network/tools.ts'
import { type Check, type Finding, fail, ok } from './check.ts'

const noExports = 'Images with exported folders cannot be used on this node.'

/** The number of the namespace's inode; undefined where there is none. */
async function namespaceInode(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  // A name whose mount went away is an empty file on /run, of another device than namespaces have.
  const ownDevice = (await stat('/proc/self/ns/net')).dev
  return found === undefined || found.dev !== ownDevice ? undefined : found.ino
}

const namespace: Check = {
  name: 'services-namespace',
  roles: ['node'],
  async run({ config }) {
    const path = namespacePath(config.network.servicesNamespace)
    if ((await namespaceInode(path)) !== undefined) return [ok(path)]
    return [
      fail(
        `${path} is no network namespace`,
        'Guests have no gateway and reach no service of the node.',
        'systemctl restart vmrmd-node, which makes it; then systemctl restart vmrm-nfs',
      ),
    ]
  },
}

async function configurationProblem(nfs: DaemonConfig['nfs']): Promise<Finding | undefined> {
  const text = await readFile(nfs.configFile, 'utf8').catch(() => undefined)
  const line = `%dir "${nfs.exportsFolder}"`
  if (text === undefined)
    return fail(`${nfs.configFile} cannot be read`, noExports, 'Copy ganesha.conf from /usr/share/doc/vmrm there.')
  const folders = [...text.matchAll(/^\s*%dir\s+"?([^"\s]+)"?/gm)].map((match) => match[1])
  if (folders.includes(nfs.exportsFolder)) return undefined
  return fail(`${nfs.configFile} does not read ${nfs.exportsFolder}`, noExports, `In ${nfs.configFile}: ${line}`)
}

/** Undefined where no live nfs-ganesha has that pid. */
async function runningPid(pidFile: string): Promise<number | undefined> {
  const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).trim())
  if (!Number.isInteger(pid) || pid < 2) return undefined
  const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
  return name.startsWith('ganesha') ? pid : undefined
}

const listenState = '0A'

/** From /proc/PID/net/tcp, which shows the process's own network namespace. */
async function listensOn(pid: number, port: number): Promise<boolean> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')),
  )
  return tables.some((table) =>
    table.split('\n').some((line) => {
      const [, local = '', , state] = line.trim().split(/\s+/)
      return local.endsWith(`:${hex}`) && state === listenState
    }),
  )
}

const ganesha: Check = {
  name: 'nfs-server',
  roles: ['node'],
  async run({ config }) {
    const { nfs, network } = config
    if (nfs.server === 'none') return [ok('vmrmd.xml has no NFS server: images may not have exports')]
    const configuration = await configurationProblem(nfs)
    if (configuration !== undefined) return [configuration]
    const start = 'systemctl restart vmrm-nfs; then its log'
    const pid = await runningPid(nfs.pidFile)
    if (pid === undefined)
      return [fail(`${nfs.pidFile} names no running nfs-ganesha`, noExports, `${start}; it needs -p ${nfs.pidFile}`)]
    const path = namespacePath(network.servicesNamespace)
    const inode = (await stat(join('/proc', String(pid), 'ns/net')).catch(() => undefined))?.ino
    if (inode !== (await namespaceInode(path)))
      return [fail(`nfs-ganesha (pid ${pid}) runs in another namespace than ${path}`, noExports, start)]
    if (!(await listensOn(pid, nfs.port)))
      return [
        fail(
          `nfs-ganesha (pid ${pid}) does not listen on port ${nfs.port}`,
          noExports,
          `NFS_Port = ${nfs.port}; in ${nfs.configFile}`,
        ),
      ]
    return [ok(`nfs-ganesha (pid ${pid}) listens on port ${nfs.port} in ${path}`)]
  },
}

export const serviceChecks: readonly Check[] = [namespace, ganesha]
