// A real libvirtd of one's own, in private mount, network and process namespaces. It never touches the host's libvirt, and
// everything it started dies with it, or with this process.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { until } from './until.ts'

const startBoundMs = 20_000
const stopBoundMs = 5_000
const scratchFolders = ['etc', 'run', 'lib', 'cache', 'log'] as const

type Settings = Readonly<Record<string, string | number | readonly string[]>>

export interface PrivateLibvirtd {
  /** Can be reached from outside the namespaces too. */
  readonly socketPath: string
  /** Scratch folder, at the same path inside and outside; gone after `stop`. */
  readonly folder: string
  /** The namespaces' first process, by the host's number. */
  readonly initPid: number
  /** The argv that runs a command inside the namespaces. */
  enter(argv: readonly string[]): string[]
  /** Host pids of processes in the namespaces, by command name (at most 15 characters of it). */
  pidsOf(commandName: string): number[]
  /** Kills libvirtd alone; its domains live on. Resolves when it is gone. */
  killDaemon(signal?: NodeJS.Signals): Promise<void>
  /** Starts libvirtd again; resolves when it answers. */
  startDaemon(): Promise<void>
  /** What libvirtd has logged so far. */
  daemonLog(): string
  /** Ends everything and removes the folder; harmless when called again. */
  stop(): Promise<void>
}

// Without cgroups, security driver and ownership changes QEMU starts as root in any container; large limits let calls pipeline.
const qemuDefaults: Settings = {
  security_driver: 'none',
  user: 'root',
  group: 'root',
  dynamic_ownership: 0,
  remember_owner: 0,
  cgroup_controllers: [],
  namespaces: [],
  stdio_handler: 'file',
}
const libvirtdDefaults: Settings = { auth_unix_rw: 'none', max_client_requests: 200, max_workers: 200 }

// Bash reaps what libvirtd's QEMUs leave behind: a zombie looks alive to libvirt, and makes destroy wait. It ends, and with it the
// process namespace, when its stdin does.
const initScript = `set -eu
folder=$1
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/libvirt /var/cache/libvirt /var/log/libvirt
mount --bind "$folder/etc" /etc/libvirt
mount --bind "$folder/run" /run/libvirt
for name in lib cache log; do mount --bind "$folder/$name" "/var/$name/libvirt"; done
ip link set lo up
while read -r verb; do
  if [ "$verb" = start ]; then
    rm -f /run/libvirtd.pid
    /usr/sbin/libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirtd.pid </dev/null >>"$folder/daemon.log" 2>&1 &
  fi
done
`

function renderSettings(settings: Settings): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join('')
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath, () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

const processNamespaceOf = (pid: number | string): string | undefined => {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return undefined // it has just ended
  }
}

function commandOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd()
  } catch {
    return undefined
  }
}

function isInUse(namespace: string): boolean {
  return readdirSync('/proc').some((pid) => /^\d+$/.test(pid) && processNamespaceOf(pid) === namespace)
}

/** unshare's child, once it is in its new process namespace. */
function childInOtherNamespace(pid: number | undefined): number | undefined {
  const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0])
  return child > 0 && processNamespaceOf(child) !== processNamespaceOf('self') ? child : undefined
}

/** Processes inside a process namespace, by command name; zombies count. */
function pidsIn(namespace: string, commandName: string): number[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && processNamespaceOf(pid) === namespace && commandOf(pid) === commandName)
    .map(Number)
}

function makeFolder(settings: { libvirtd?: Settings; qemu?: Settings }): string {
  // Directly under /tmp: a unix socket's path has at most 107 bytes.
  const folder = mkdtempSync('/tmp/vmrm-libvirtd-')
  for (const name of scratchFolders) mkdirSync(join(folder, name))
  const uuid = { host_uuid: randomUUID() }
  writeFileSync(
    join(folder, 'etc/libvirtd.conf'),
    renderSettings({ ...libvirtdDefaults, ...uuid, ...settings.libvirtd }),
  )
  writeFileSync(join(folder, 'etc/qemu.conf'), renderSettings({ ...qemuDefaults, ...settings.qemu }))
  return folder
}

function startInit(folder: string): ChildProcess {
  const flags = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private']
  return spawn('/usr/bin/unshare', [...flags, '/bin/bash', '-c', initScript, 'init', folder], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
  })
}

/** Root only. `libvirtd` and `qemu` add to or replace settings of libvirtd.conf and qemu.conf. */
export async function startLibvirtd(settings: { libvirtd?: Settings; qemu?: Settings } = {}): Promise<PrivateLibvirtd> {
  const folder = makeFolder(settings)
  const socketPath = join(folder, 'run/libvirt-sock')
  const logPath = join(folder, 'daemon.log')
  const unshare = startInit(folder)
  let said = ''
  unshare.stderr?.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-4096)
  })
  unshare.stdin?.on('error', () => {}) // it ended: whoever waits for libvirtd is told
  const exited = new Promise<void>((resolve) => unshare.once('close', () => resolve()))
  const killAll = (): boolean => unshare.kill('SIGKILL')
  process.once('exit', killAll)

  const stop = async (): Promise<void> => {
    // The first process ends at end of file, and the kernel ends the others; unshare reaps it, which PID 1 may do late.
    unshare.stdin?.end()
    const killer = setTimeout(killAll, stopBoundMs)
    await exited
    clearTimeout(killer)
    if (namespace !== undefined) await until('namespace is empty', () => !isInUse(namespace as string))
    process.removeListener('exit', killAll)
    rmSync(folder, { recursive: true, force: true })
  }
  const startDaemon = async (): Promise<void> => {
    unshare.stdin?.write('start\n')
    await until(
      'libvirtd answers',
      () => {
        if (unshare.exitCode !== null || unshare.signalCode !== null) throw new Error(`namespace ended: ${said}`)
        return answers(socketPath)
      },
      startBoundMs,
    )
  }

  let namespace: string | undefined
  try {
    const initPid = await until('namespace exists', () => childInOtherNamespace(unshare.pid))
    namespace = processNamespaceOf(initPid)
    const inside = (name: string): number[] => pidsIn(namespace as string, name)
    await startDaemon()
    return {
      socketPath,
      folder,
      initPid,
      enter: (argv) => ['/usr/bin/nsenter', '-t', String(initPid), '-m', '-n', '-p', '--', ...argv],
      pidsOf: inside,
      killDaemon: async (signal = 'SIGKILL') => {
        for (const pid of inside('libvirtd')) process.kill(pid, signal)
        await until('libvirtd is gone', () => inside('libvirtd').length === 0)
      },
      startDaemon,
      daemonLog: () => readFileSync(logPath, 'utf8'),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
