// Exports of a node's folders to one run, through nfs-ganesha: one configuration file a run, squashed to the run's user and
// bound to its VMs' addresses. It never mounts anything and never touches an export that is not a run's.
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { VmrmError } from '../errors/vmrm-error.ts'

export interface ExportedFolder {
  /** On the node. */
  readonly path: string
  readonly readOnly: boolean
}

export interface RunExports {
  /** A run's name; the exports are /RUN-0, /RUN-1, … */
  readonly run: string
  /** Whom all of its guests act as; root's are nobody. */
  readonly uid: number
  readonly gid: number
  readonly addresses: readonly string[]
  readonly folders: readonly ExportedFolder[]
}

export interface ExportServer {
  /** Makes the run's exports known to the server; a guest's first tries may still come too early. */
  add(exports: RunExports): Promise<void>
  /** Takes them away; nothing there is no error. */
  remove(run: string): Promise<void>
  /** Runs that have exports. */
  list(): Promise<readonly string[]>
}

/** What a guest mounts: the pseudo path of a run's export. One level only: ganesha shows folders above an export to everyone. */
export function exportPath(run: string, index: number): string {
  return `/${run}-${index}`
}

/** What NFS servers make of another machine's root (root_squash), as Linux numbers it. */
const nobody = { uid: 65_534, gid: 65_534 }

const firstId = 100
const lastId = 65_000

/**
 * ganesha.conf's own text for a run. Asserted values only: everything in it comes from parsers. Others write to the folders
 * beside ganesha: if it trusted what it knows of them for its usual minute, a guest that polls would not see that at all.
 */
export function renderExports(exports: RunExports, ids: readonly number[]): string {
  // Whoever is root in a guest would be root on the folders of the node.
  const { uid, gid } = exports.uid === 0 ? nobody : exports
  return exports.folders
    .map((folder, index) => {
      const access = folder.readOnly ? 'RO' : 'RW'
      return `EXPORT {
	Export_Id = ${ids[index]};
	Path = ${quoted(folder.path)};
	Pseudo = ${exportPath(exports.run, index)};
	Access_Type = None;
	Protocols = 4;
	Transports = TCP;
	SecType = sys;
	Attr_Expiration_Time = 0;
	Squash = All_Squash;
	Anonymous_Uid = ${uid};
	Anonymous_Gid = ${gid};
	FSAL { Name = VFS; }
	CLIENT {
		Clients = ${exports.addresses.join(', ')};
		Access_Type = ${access};
		Squash = All_Squash;
		Anonymous_Uid = ${uid};
		Anonymous_Gid = ${gid};
	}
}
`
    })
    .join('')
}

function quoted(path: string): string {
  if (/["\\\n]/.test(path)) throw new VmrmError('config-invalid', `${JSON.stringify(path)} cannot be exported`)
  return `"${path}"`
}

/** nfs-ganesha reads its exports folder again on SIGHUP (`%dir` in its configuration). */
export function createGanesha(options: { exportsFolder: string; pidFile: string }): ExportServer {
  const { exportsFolder, pidFile } = options
  const nextId = createIdSource()
  let queue: Promise<unknown> = Promise.resolve()
  // One change at a time, so that two runs never choose the same export number.
  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work)
    queue = result.catch(() => {})
    return result
  }
  const fileOf = (run: string) => join(exportsFolder, `${run}.conf`)
  const list = async () => {
    const names = await readdir(exportsFolder)
    return names.filter((name) => name.endsWith('.conf')).map((name) => name.slice(0, -'.conf'.length))
  }
  return {
    list,
    add: (exports) =>
      inOrder(async () => {
        await rm(fileOf(exports.run), { force: true })
        const used = await usedIds(exportsFolder)
        const ids = exports.folders.map(() => nextId(used))
        // Beside the folder, not in it: ganesha reads every file there, half-written ones too.
        const temporary = join(dirname(exportsFolder), `exports.${exports.run}.new`)
        await writeFile(temporary, renderExports(exports, ids), { mode: 0o600 })
        await rename(temporary, fileOf(exports.run))
        await reload(pidFile)
      }),
    remove: (run) =>
      inOrder(async () => {
        if (!(await list()).includes(run)) return
        await rm(fileOf(run), { force: true })
        await reload(pidFile)
      }),
  }
}

async function usedIds(folder: string): Promise<Set<number>> {
  const used = new Set<number>()
  for (const name of await readdir(folder)) {
    if (!name.endsWith('.conf')) continue
    const text = await readFile(join(folder, name), 'utf8')
    for (const match of text.matchAll(/Export_Id = (\d+);/g)) used.add(Number(match[1]))
  }
  return used
}

/**
 * Numbers go round, from a place that differs at each start: ganesha 4.3 hangs or ends when one reload finds an old number
 * at a new path.
 */
function createIdSource(): (used: Set<number>) => number {
  const count = lastId - firstId + 1
  let next = Math.floor(Date.now() / 1000) % count
  return (used) => {
    for (let tried = 0; tried < count; tried += 1) {
      const id = firstId + next
      next = (next + 1) % count
      if (!used.has(id)) return id
    }
    throw new VmrmError('range-full', 'the NFS server of this node has no export number left')
  }
}

async function reload(pidFile: string): Promise<void> {
  try {
    const pid = Number((await readFile(pidFile, 'utf8')).trim())
    if (!Number.isInteger(pid) || pid <= 1) throw new Error(`${pidFile} holds no process id`)
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()
    if (!name.startsWith('ganesha')) throw new Error(`process ${pid} of ${pidFile} is ${name}`)
    process.kill(pid, 'SIGHUP')
  } catch (cause) {
    throw new VmrmError('node-fault', `the NFS server of this node cannot be told: ${(cause as Error).message}`, {
      cause,
    })
  }
}
