// Runs a real vmrm-agent in namespaces of its own, with its own /etc, and ends it. It must never let the agent touch the machine's files.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cgroup2, makeCgroup, removeCgroup } from '../agent-cgroup.ts'

const root = join(import.meta.dirname, '../../..')

/** How the agent keeps a session's processes together. */
export type Grouping = 'cgroup' | 'process-group'

export const groupings: readonly Grouping[] = cgroup2 === undefined ? ['process-group'] : ['cgroup', 'process-group']

/** Builds the agent under AddressSanitizer and UBSan; returns its path. */
export function buildAgent(): string {
  execFileSync('make', ['-s', '-C', join(root, 'lib/guest'), 'SANITIZE=1'], { timeout: 180_000 })
  return join(root, 'build/c-asan/vmrm-agent')
}

const enter = `
set -e
[ -z "$VMRM_TEST_CGROUP" ] || echo 0 > "$VMRM_TEST_CGROUP/cgroup.procs"
exec unshare -m -u -n -i -p --fork --kill-child=KILL --mount-proc --propagation private sh -ec '
mkdir -p "$VMRM_TEST_FOLDER/etc/profile.d"
for f in passwd group shadow hosts; do cp -p /etc/$f "$VMRM_TEST_FOLDER/etc/"; done
mount --bind "$VMRM_TEST_FOLDER/etc" /etc
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /var/lib
mount -t tmpfs -o mode=755 none /run
if [ -z "$VMRM_TEST_CGROUP" ]; then while umount "$VMRM_TEST_CGROUP2" 2>/dev/null; do :; done; fi
ip link add nic0 type veth peer name nic1
ip link set nic0 address 52:54:00:12:34:56; ip link set nic1 up
exec "$VMRM_TEST_AGENT" --port "$VMRM_TEST_FOLDER/port"
'
`

export class AgentProcess {
  readonly folder: string
  readonly socketPath: string
  readonly #child: ChildProcess
  readonly #cgroup: string | undefined
  #stderr = ''

  constructor(binary: string, grouping: Grouping) {
    this.folder = mkdtempSync(join(tmpdir(), 'vmrm-test-agent-'))
    this.socketPath = join(this.folder, 'port')
    if (grouping === 'cgroup') this.#cgroup = makeCgroup(this.folder.slice(-6))
    this.#child = spawn('/bin/sh', ['-c', enter], {
      env: {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        VMRM_TEST_FOLDER: this.folder,
        VMRM_TEST_AGENT: binary,
        VMRM_TEST_CGROUP: this.#cgroup ?? '',
        VMRM_TEST_CGROUP2: cgroup2 ?? '/nowhere',
        ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
      },
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString()
    })
  }

  /** What the agent and its sanitizers said. */
  get stderr(): string {
    return this.#stderr
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Runs a command inside the agent's namespaces and returns its output. */
  inside(argv: readonly string[]): string {
    const pid = execFileSync('pgrep', ['-P', String(this.#child.pid)], { encoding: 'utf8' }).trim()
    return execFileSync('nsenter', ['-t', pid, '-m', '-u', '-n', '-p', ...argv], { encoding: 'utf8', timeout: 10_000 })
  }

  /** Ends the agent and everything in its namespaces; removes the folder and the cgroup. */
  async stop(): Promise<void> {
    const ended = new Promise<void>((resolve) =>
      this.isRunning ? this.#child.once('close', () => resolve()) : resolve(),
    )
    this.#child.kill('SIGKILL')
    await ended
    rmSync(this.folder, { recursive: true, force: true })
    if (this.#cgroup !== undefined) await removeCgroup(this.#cgroup)
  }
}
