// A real vmrm-agent in namespaces of its own with a copy of /etc, so that an identity changes nothing on this machine. No network is given to it.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCgroup, removeCgroup } from './agent-cgroup.ts'

const enter = `
[ -z "$VMRM_TEST_CGROUP" ] || echo 0 >"$VMRM_TEST_CGROUP/cgroup.procs"
exec /usr/bin/unshare -m -u -n -i -p --fork --kill-child=KILL --mount-proc --propagation private /bin/sh -ec '
mkdir "$VMRM_TEST_FOLDER/etc"
for f in passwd group shadow hosts; do cp -p /etc/$f "$VMRM_TEST_FOLDER/etc/"; done
mount --bind "$VMRM_TEST_FOLDER/etc" /etc
mount -t tmpfs -o mode=755 none /run
# A guest at rest, whatever this machine does.
cp /proc/stat /run/stat
mount --bind /run/stat /proc/stat
exec "$VMRM_TEST_AGENT" --port "$VMRM_TEST_FOLDER/port"
'
`

export class CagedAgent {
  readonly folder = mkdtempSync(join(tmpdir(), 'vmrm-test-guest-'))
  readonly #cgroup = makeCgroup(this.folder.slice(-6))
  readonly #child: ChildProcess
  #stderr = ''

  constructor(binary: string) {
    chmodSync(this.folder, 0o755)
    this.#child = spawn('/usr/bin/setpriv', ['--pdeathsig', 'KILL', '/bin/sh', '-ec', enter], {
      env: {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        VMRM_TEST_FOLDER: this.folder,
        VMRM_TEST_AGENT: binary,
        VMRM_TEST_CGROUP: this.#cgroup ?? '',
        ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
      },
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString()
    })
  }

  /** Where the agent connects to: somebody must listen there. */
  get portPath(): string {
    return join(this.folder, 'port')
  }

  get stderr(): string {
    return this.#stderr
  }

  async stop(): Promise<void> {
    const isRunning = this.#child.exitCode === null && this.#child.signalCode === null
    const ended = new Promise<void>((resolve) => (isRunning ? this.#child.once('close', () => resolve()) : resolve()))
    this.#child.kill('SIGKILL')
    await ended
    rmSync(this.folder, { recursive: true, force: true })
    if (this.#cgroup !== undefined) await removeCgroup(this.#cgroup)
  }
}
