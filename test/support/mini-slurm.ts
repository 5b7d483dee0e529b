// A one-node Slurm cluster in namespaces of its own, for the tests of the SPANK plug-in, the gate and the snippets.
// It owns bring-up and tear-down; it must leave nothing outside its scratch folder, and nothing at all once stopped.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { daemons, holderScript, slurmConf } from './mini-slurm-files.ts'

export interface MiniSlurmFile {
  /** Absolute path inside the namespaces; only /etc, /usr/lib, /run and /var are private there. */
  readonly path: string
  readonly content: string | Buffer
  /** Octal text for chmod; default 0644. */
  readonly mode?: string
}

export interface MiniSlurmOptions {
  /** Lines added to slurm.conf. */
  readonly slurmConf?: string
  readonly files?: readonly MiniSlurmFile[]
}

export interface RunOptions {
  /** alice, bob or root; default alice. */
  readonly user?: 'alice' | 'bob' | 'root'
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  /** Default 30,000. */
  readonly timeoutMs?: number
}

export interface RunResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface MiniSlurm {
  /** A folder that all users may write, the same inside and outside. */
  readonly shared: string
  /** Runs a command inside the namespaces; argv[0] is an absolute path or is found in /usr/bin:/bin:/usr/sbin:/sbin. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult>
  put(file: MiniSlurmFile): Promise<void>
  /** What slurmctld and slurmd have logged so far. */
  logs(): Promise<string>
  /** Kills everything and removes the scratch folder. */
  stop(): Promise<void>
}

const path = '/usr/bin:/bin:/usr/sbin:/sbin'

function collect(child: ChildProcess, timeoutMs: number, what: string): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = []
    const err: Buffer[] = []
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      const seen = Buffer.concat([...out, ...err]).toString()
      reject(new Error(`${what} did not end within ${timeoutMs} ms: ${seen.slice(-2000)}`))
    }, timeoutMs)
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() })
    })
  })
}

/** The holder is PID 1 of its PID namespace and ends when its stdin does: with it the kernel ends everything inside. */
async function startHolder(scratch: string): Promise<{ holder: ChildProcess; insidePid: string }> {
  const holder = spawn(
    'unshare',
    ['--net', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', '-s', scratch],
    { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: path } },
  )
  holder.stdin?.write(holderScript)
  let text = ''
  holder.stderr?.on('data', (chunk: Buffer) => {
    text += chunk
  })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`namespaces not ready after 10 s: ${text}`)), 10_000)
    holder.stdout?.on('data', (chunk: Buffer) => {
      if (!chunk.includes('ready')) return
      clearTimeout(timer)
      resolve()
    })
    holder.on('close', () => reject(new Error(`namespaces could not be made: ${text}`)))
  })
  const children = await readFile(`/proc/${holder.pid}/task/${holder.pid}/children`, 'utf8')
  return { holder, insidePid: children.trim() }
}

/** Starts munged, slurmctld and slurmd and waits until the node is idle (at most 20 s); cleans up when that fails. */
export async function startMiniSlurm(options: MiniSlurmOptions = {}): Promise<MiniSlurm> {
  const scratch = await mkdtemp(join(tmpdir(), 'vmrm-mini-slurm-'))
  const shared = join(scratch, 'shared')
  const { holder, insidePid } = await startHolder(scratch)

  const spawnInside = (argv: readonly string[], runOptions: RunOptions = {}): ChildProcess => {
    const user = runOptions.user ?? 'alice'
    const enter = ['-t', insidePid, '-m', '-n', '-u', '-i', '-p', '--wd=/']
    const become = user === 'root' ? [] : ['setpriv', '--reuid', user, '--regid', user, '--init-groups']
    const cwd = ['env', '-C', user === 'root' ? '/' : shared]
    return spawn('nsenter', [...enter, ...become, ...cwd, ...argv], {
      env: { PATH: path, USER: user, ...runOptions.env },
    })
  }
  const run: MiniSlurm['run'] = (argv, runOptions = {}) => {
    const child = spawnInside(argv, runOptions)
    child.stdin?.on('error', () => {})
    child.stdin?.end(runOptions.input ?? '')
    return collect(child, runOptions.timeoutMs ?? 30_000, argv.join(' '))
  }
  const put: MiniSlurm['put'] = async (file) => {
    const staged = join(scratch, 'staged', file.path)
    await mkdir(dirname(staged), { recursive: true })
    await writeFile(staged, file.content)
    const put = await run(['install', '-D', '-m', file.mode ?? '0644', staged, file.path], { user: 'root' })
    if (put.code !== 0) throw new Error(`cannot put ${file.path}: ${put.stderr}`)
  }
  const logs: MiniSlurm['logs'] = async () =>
    (await run(['sh', '-c', 'cat /var/log/slurm/*.log'], { user: 'root' })).stdout
  const stop: MiniSlurm['stop'] = async () => {
    const ended = new Promise((resolve) => holder.once('close', resolve))
    if (holder.exitCode === null && holder.signalCode === null) {
      holder.stdin?.end()
      holder.kill('SIGKILL')
      await ended
    }
    await rm(scratch, { recursive: true, force: true })
  }

  try {
    await put({ path: '/etc/slurm/slurm.conf', content: slurmConf + (options.slurmConf ?? '') })
    for (const file of options.files ?? []) await put(file)
    for (const argv of daemons) {
      const started = await run(argv, { user: 'root' })
      if (started.code !== 0) throw new Error(`${argv.join(' ')}: ${started.stderr}`)
    }
    await waitForIdle(run, logs)
  } catch (error) {
    await stop()
    throw error
  }
  return { shared, run, put, logs, stop }
}

async function waitForIdle(run: MiniSlurm['run'], logs: MiniSlurm['logs']): Promise<void> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const state = await run(['timeout', '3', 'sinfo', '-h', '-p', 'main', '-o', '%T'], { user: 'root' })
    if (state.stdout.trim() === 'idle') return
    if (Date.now() > deadline) throw new Error(`node not idle: ${state.stdout}${state.stderr}\n${await logs()}`)
    await delay(50)
  }
}
