// vmrm-run against the real relay and agent: what a task's user sees. vmrm-run and agent run under ASan and UBSan here.
import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Admission } from '../../../lib/guest/relay/admission.ts'
import { buildC, Rig, type Run } from '../../guest/rig.ts'
import { until } from '../../support/until.ts'

const agent = buildC('vmrm-agent', 'sanitized')
const run = buildC('vmrm-run', 'sanitized')

let verdict: () => Promise<Admission | undefined> = async () => undefined
const rig = await Rig.start({ agent, run, admit: () => verdict() })
t.teardown(() => rig.stop())
t.afterEach(() => {
  verdict = async () => undefined
})

const sh = (script: string, ...more: string[]): string[] => ['sh', '-c', script, ...more]
const pidOf = (r: Run): number => r.child.pid as number
const hasPrinted = (r: Run, text: string) => until(`${text} in ${r.stdout}${r.stderr}`, () => r.stdout.includes(text))
const isAlive = (marker: string): boolean =>
  readdirSync('/proc').some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(marker)
    } catch {
      return false
    }
  })

function makeScript(name: string, text: string): string {
  const folder = join(rig.agent.folder, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'slurm_script'), text, { mode: 0o700 })
  return join(folder, 'slurm_script')
}

/** The environment of a batch step: SLURM_STEP_ID is absent, not empty. */
function runBatch(script: string, ...args: string[]): Run {
  return rig.run({ argv: [script, ...args], env: { SLURM_TASKS_PER_NODE: '4' }, without: ['SLURM_STEP_ID'] })
}

t.test('a task ends as it would have on the host', async (t) => {
  const cases = [
    { argv: ['true'], code: 0 },
    { argv: sh('exit 7'), code: 7 },
    { argv: sh('exit 255'), code: 255 },
    { argv: sh('kill -9 $$'), signal: 'SIGKILL' },
    { argv: sh('kill -TERM $$'), signal: 'SIGTERM' },
    { argv: sh('kill -SEGV $$'), signal: 'SIGSEGV' },
    { argv: ['nosuchcmd'], code: 2, stderr: 'slurmstepd: error: execve(): nosuchcmd: No such file or directory\n' },
    { argv: ['/etc/passwd'], code: 13, stderr: 'slurmstepd: error: execve(): /etc/passwd: Permission denied\n' },
  ]
  for (const { argv, code, signal, stderr } of cases) {
    const r = rig.run({ argv })
    t.match(await r.ended, { code: code ?? null, signal: signal ?? null }, argv.join(' '))
    t.equal(r.stderr, stderr ?? '')
  }
})

t.test('arguments, environment and folder are data', async (t) => {
  const nasty = 'a b\'"$(id);\n\\`x` é'
  const r = rig.run({
    argv: sh('printf "%s|%s|%s" "$1" "$NASTY" "$PWD"', '-', nasty),
    env: { NASTY: nasty },
    cwd: '/usr',
  })
  await r.ended
  t.equal(Buffer.from(r.stdout, 'latin1').toString(), `${nasty}|${nasty}|/usr`)
})

t.test('limits and umask are those that Slurm carries, and its variables for them are gone', async (t) => {
  const env = { SLURM_RLIMIT_NOFILE: 'U321', SLURM_RLIMIT_CORE: '18446744073709551615', SLURM_UMASK: '0027' }
  const r = rig.run({ argv: sh('ulimit -Sn; ulimit -Sc; umask; env | grep -c SLURM_RLIMIT'), env })
  await r.ended
  t.equal(r.stdout, '321\nunlimited\n0027\n0\n')
})

t.test('a batch script goes along with its arguments and its shebang line', async (t) => {
  const script = makeScript('job00007', '#!/usr/bin/env -S perl -w\nprint join(",", @ARGV), "\\n"; exit 5;\n')
  const r = runBatch(script, 'one', 'two three')
  t.match(await r.ended, { code: 5 })
  t.equal(r.stdout, 'one,two three\n')
  t.match(rig.requests.at(-1), { step: 'batch', localId: 0, localCount: 1 }, 'the batch step is one task')
})

t.test('a step says which task of how many on its node it is', async (t) => {
  const env = { SLURM_LOCALID: '2', SLURM_NODEID: '2', SLURM_STEP_TASKS_PER_NODE: '5(x2),3', SLURM_PROCID: '12' }
  await rig.run({ argv: ['true'], env }).ended
  t.match(rig.requests.at(-1), { jobId: '7', step: '0.12', localId: 2, localCount: 3 })
  await rig.run({ argv: ['true'], options: ['--job', '9', '--vm', '1'] }).ended
  t.match(rig.requests.at(-1), { jobId: '9', vm: 1 })
  const chosen = rig.run({ argv: sh('env | grep -c VMRM_EXEC_VM'), env: { ...env, VMRM_EXEC_VM: '3' } })
  await chosen.ended
  t.match(rig.requests.at(-1), { vm: 3 }, 'vmrm exec chooses the VM')
  t.equal(chosen.stdout, '0\n', 'and that is nothing for the command')
})

t.test('--multi-prog: each rank runs the program of its line', async (t) => {
  const text = "# comment\n0 printf [%%s] zero\n1,3-4 printf [%%s] %t:%o 'a b' c\\ d\n* printf [star]\n"
  const expected = ['[zero]', '', '[star]', '', '[star]']
  expected[1] = '[1:0][a b][c d]'
  expected[3] = '[3:1][a b][c d]'
  expected[4] = '[4:2][a b][c d]'
  const announced = { SLURM_SPANK_VMRM_MULTI_PROG: '1' }
  for (const [rank, stdout] of expected.entries()) {
    const env = { ...announced, SLURM_PROCID: String(rank) }
    const r = rig.run({ argv: ['mp.conf', text.replaceAll('%%s', '%s')], env })
    await r.ended
    t.equal(r.stdout, stdout, `rank ${rank}`)
  }
  const none = rig.run({ argv: ['mp.conf', '0 true\n'], env: { ...announced, SLURM_PROCID: '1' } })
  t.match(await none.ended, { code: 2 })
  t.match(none.stderr, 'names no program for task 1')
  const echo = rig.run({ argv: ['echo', '0 true\n'] })
  await echo.ended
  t.equal(echo.stdout, '0 true\n\n', 'without the announcement it is a command with such an argument')
})

t.test('100 MB arrive intact in each direction, stdout and stderr apart', async (t) => {
  const bytes = randomBytes(1 << 20)
  const count = 100
  const digest = createHash('sha256')
  for (let i = 0; i < count; i++) digest.update(bytes)
  const r = rig.run({ argv: sh('cat; echo end >&2'), stdin: 'pipe' })
  for (let i = 0; i < count; i++) {
    if (r.child.stdin?.write(bytes) === false) await new Promise((resolve) => r.child.stdin?.once('drain', resolve))
  }
  r.child.stdin?.end()
  t.match(await r.ended, { code: 0 })
  t.equal(r.digest.digest('hex'), digest.digest('hex'))
  t.equal(r.stderr, 'end\n')
})

t.test('a slow reader slows the writer and loses nothing', async (t) => {
  const progress = join(rig.agent.folder, 'progress')
  writeFileSync(progress, '0')
  const r = rig.run({
    argv: sh(`i=0; while [ $i -lt 400 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > ${progress}; done`),
  })
  r.child.stdout?.pause()
  let last = ''
  let same = 0
  await until('the writer to stand still', () => {
    const now = readFileSync(progress, 'utf8')
    same = now === last && now !== '' && Number(now) > 0 ? same + 1 : 0
    last = now
    return same > 60
  })
  t.ok(Number(last) < 100, `it stands after ${last.trim()} of 400 pieces`)
  r.child.stdout?.resume()
  await r.ended
  t.equal(r.stdoutBytes, 400 * 65536)
})

t.test('every signal Slurm sends reaches the task', async (t) => {
  const names = ['HUP', 'INT', 'QUIT', 'TERM', 'USR1', 'USR2', 'ALRM', 'URG', 'WINCH', 'XCPU', 'PWR', 'CONT'] as const
  for (const name of names) {
    const r = rig.run({
      argv: ['bash', '-c', `trap "echo got ${name}; exit 3" ${name}; echo ready; while :; do sleep 0.02; done`],
    })
    await hasPrinted(r, 'ready')
    process.kill(pidOf(r), `SIG${name}`)
    t.match(await r.ended, { code: 3 }, name)
    t.match(r.stdout, `got ${name}`)
  }
  for (const name of ['TERM', 'INT', 'USR1', 'ALRM'] as const) {
    const r = rig.run({ argv: sh('echo ready; exec sleep 100') })
    await hasPrinted(r, 'ready')
    process.kill(pidOf(r), `SIG${name}`)
    t.match(await r.ended, { signal: `SIG${name}` }, `an uncaught ${name}`)
  }
})

t.test('a batch script: a signal for its shell is for its shell, one for the group is for all', async (t) => {
  const text = `#!/bin/bash
trap 'echo leader' USR1
bash -c 'trap "echo child" USR1; echo ready; for i in $(seq 200); do sleep 0.02; done' &
while kill -0 $! 2>/dev/null; do wait; done
`
  for (const [target, expected] of [
    ['leader', { leader: 1, child: 0 }],
    ['group', { leader: 1, child: 1 }],
  ] as const) {
    const r = runBatch(makeScript(`batch-${target}`, text))
    await hasPrinted(r, 'ready')
    process.kill(target === 'leader' ? pidOf(r) : -pidOf(r), 'SIGUSR1')
    await r.ended
    const count = (word: string) => r.stdout.split('\n').filter((line) => line === word).length
    t.strictSame({ leader: count('leader'), child: count('child') }, expected, target)
  }
})

t.test('a vmrm-run that waits, or whose task is silent, needs less than 2 MB', async (t) => {
  const small = await Rig.start({ agent, run: buildC('vmrm-run', 'plain'), admit: () => verdict() })
  try {
    const rssKib = (r: Run) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pidOf(r)}/status`, 'utf8'))?.[1])
    const quiet = small.run({ argv: sh('head -c 20000000 /dev/zero; exec sleep 100') })
    await until('its output', () => quiet.stdoutBytes === 20_000_000)
    t.ok(rssKib(quiet) < 2048, `${rssKib(quiet)} KiB after 20 MB of output`)
    verdict = () => new Promise(() => {})
    const waiting = small.run({ argv: ['sleep', '100'] })
    await until('its request', () => small.requests.length === 2)
    t.ok(rssKib(waiting) < 2048, `${rssKib(waiting)} KiB while it waits`)
  } finally {
    await small.stop()
  }
})

t.test('it works as an unprivileged user, whose task is that user in the guest', async (t) => {
  const nobody = await Rig.start({ agent, run, user: 'nobody' })
  try {
    const r = nobody.run({ argv: sh('id -u; id -g; id -G; cat; exit 4'), uid: 65534, stdin: 'pipe' })
    r.child.stdin?.end('through\n')
    t.match(await r.ended, { code: 4 })
    t.equal(r.stdout, '65534\n65534\n65534\nthrough\n')
  } finally {
    await nobody.stop()
  }
})

t.test('a task is bound to the CPUs that vmrmd names', async (t) => {
  verdict = async () => ({ outcome: 'attached', vm: 'j7r0v0', hostname: 'vm0', channel: rig.channel, cpus: '1' })
  const r = rig.run({ argv: ['grep', 'Cpus_allowed_list', '/proc/self/status'] })
  await r.ended
  t.match(r.stdout, /Cpus_allowed_list:\s+1\n/)
})

t.test('the site’s TaskProlog is run on the host and says what the task’s environment is', async (t) => {
  const text = `#!/bin/sh
echo "print hello  $SLURM_PROCID"
echo "export ADDED=a b = c"
echo "unset REMOVED OTHER"
echo "nonsense ADDED"
echo "export nothing"
echo "to stderr" >&2
[ "$SLURM_TASK_PID" = "$PPID" ] && echo "export PID=right"
exit \${FAIL:-0}
`
  const taskProlog = makeScript('prolog', text)
  const place = { outcome: 'attached', vm: 'j7r0v0', hostname: 'vm0' } as const
  verdict = async () => ({ ...place, channel: rig.channel, taskProlog })
  const env = { SLURM_PROCID: '4', REMOVED: 'x', OTHER: 'y' }
  const r = rig.run({ argv: sh('echo "$ADDED|$REMOVED|$OTHER|$PID"'), env })
  t.match(await r.ended, { code: 0 })
  t.equal(r.stdout, 'hello  4\na b = c||y|right\n')
  t.equal(r.stderr, '', 'as with slurmstepd, nobody sees that')
  const failing = rig.run({ argv: ['echo', 'there'], env: { FAIL: '3' } })
  t.match(await failing.ended, { code: 3 })
  t.equal(failing.stdout, 'hello  \n', 'the task does not run')
  t.equal(failing.stderr, 'slurmstepd: error: TaskProlog failed status=3\n')
  verdict = async () => ({ ...place, channel: rig.channel, taskProlog: '/nosuch/prolog' })
  const without = rig.run({ argv: ['echo', 'there'] })
  t.match(await without.ended, { code: 1 })
  t.equal(without.stdout, '')
  t.match(without.stderr, /TaskProlog \/nosuch\/prolog cannot be run: No such file/)
})

t.test(
  'a --task-prolog runs in the guest before the task, in its folder, and says what its environment is',
  async (t) => {
    const text = `#!/bin/sh
echo "print hello  $SLURM_PROCID $SLURM_SCRIPT_CONTEXT $(pwd) $(wc -c)"
echo "export ADDED=a b = c"
echo "unset REMOVED"
exit \${FAIL:-0}
`
    const path = makeScript('user-prolog', text)
    const env = { SLURM_PROCID: '4', REMOVED: 'x', SLURM_SPANK_VMRM_TASK_PROLOG: path, SLURM_SPANK_VMRM_FOLDER: '/usr' }
    const r = rig.run({
      argv: sh('echo "$ADDED|$REMOVED|$SLURM_SPANK_VMRM_TASK_PROLOG|$(pwd)|$(cat)"'),
      env,
      stdin: 'pipe',
    })
    r.child.stdin?.end('for the task')
    t.match(await r.ended, { code: 0 })
    t.equal(r.stdout, 'hello  4 prolog_task /usr 0\na b = c|||/usr|for the task\n')
    t.equal(r.stderr, '')
    t.equal(rig.requests.length >= 2, true)
    const failing = rig.run({ argv: ['echo', 'there'], env: { ...env, FAIL: '3' } })
    t.match(await failing.ended, { code: 3 })
    t.equal(failing.stdout, 'hello  4 prolog_task /usr 0\n', 'the task does not run')
    t.equal(failing.stderr, 'slurmstepd: error: --task-prolog failed status=3\n')
    const missing = rig.run({ argv: ['echo', 'there'], env: { ...env, SLURM_SPANK_VMRM_TASK_PROLOG: '/no/such' } })
    t.match(await missing.ended, { code: 1 })
    t.match(
      missing.stderr,
      /user task_prolog can not be executed \(\/no\/such\) No such file or directory\n.*\n.*failed status=1\n$/,
    )
    const epilog = rig.run({ argv: ['echo', 'there'], env: { SLURM_SPANK_VMRM_TASK_EPILOG: path } })
    t.match(await epilog.ended, { code: 65 })
    t.match(epilog, { stdout: '', stderr: /^vmrm: --task-epilog=\S+ would run outside the job's VMs/ })
  },
)

t.test('a program that --bcast put onto the node goes along; tasks that start together find a whole one', async (t) => {
  const folder = join(rig.agent.folder, 'copied')
  mkdirSync(folder)
  const told = { SLURM_SPANK_VMRM_BCAST: '1', SLURMD_NODENAME: 'n1' }
  const path = join(folder, 'slurm_bcast_7.0_n1')
  writeFileSync(path, '#!/bin/sh\necho "I am $0"\n', { mode: 0o755 })
  const all = [1, 2, 3, 4].map(() => rig.run({ argv: [`${folder}/`], env: told }))
  for (const r of all) {
    t.match(await r.ended, { code: 0 })
    t.match(r, { stdout: `I am ${path}\n`, stderr: '' })
  }
  t.strictSame(readdirSync(folder), ['slurm_bcast_7.0_n1'], 'and nothing else is left')
  writeFileSync(path, Buffer.alloc((16 << 20) + 1), { mode: 0o755 })
  const large = rig.run({ argv: [path], env: told })
  t.match(await large.ended, { code: 65 })
  t.match(large.stderr, /^vmrm: --bcast brings programs of up to 16 MB into a VM.*vmrm sbcast/)
})

t.test('of a folder that slurmstepd could not enter it is not said again', async (t) => {
  const quiet = rig.run({ argv: ['pwd'], env: { SLURM_SPANK_VMRM_FOLDER: '/no/such' }, cwd: '/tmp' })
  await quiet.ended
  t.match(quiet, { stdout: '/tmp\n', stderr: '' })
  const loud = rig.run({ argv: ['pwd'], env: { SLURM_SPANK_VMRM_FOLDER: '/no/such' }, cwd: '/usr' })
  await loud.ended
  t.match(loud, { stdout: '/tmp\n', stderr: /couldn't chdir to `\/no\/such'/ })
})

t.test('vmrm-run tells which CPUs of the host it may use', async (t) => {
  await rig.run({ argv: ['true'] }).ended
  t.equal(
    rig.requests.at(-1)?.affinity,
    readFileSync('/proc/self/status', 'utf8').match(/Cpus_allowed_list:\s+(\S+)/)?.[1],
  )
})

t.test('on a terminal (srun --pty) the task has one of the same size, and the outer one is given back', async (t) => {
  const inner = 'sh -c "tty; stty size; read x; echo got $x; exit 3"'
  const command = `stty rows 33 cols 77; ${run} --socket ${rig.taskSocket} -- ${inner.replaceAll('$', '\\$')}; echo code $?; stty -a`
  const terminal = spawn('/usr/bin/script', ['-qec', command, '/dev/null'], {
    env: { PATH: '/usr/bin:/bin', TERM: 'xterm', SLURM_JOB_ID: '7', SLURM_STEP_ID: '0', SLURM_LOCALID: '0' },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  t.teardown(() => terminal.kill('SIGKILL'))
  let output = ''
  terminal.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  await until('the size', () => output.includes('33 77'))
  terminal.stdin.write('hello\r')
  await until('the end', () => output.includes('code 3'))
  t.match(output, /^\/dev\/pts\/\d+\r\n33 77\r\n/)
  t.match(output, 'got hello\r\n')
  await until('the settings', () => /[^-]icanon/.test(output))
})

t.test('a signal before the task runs is kept; TERM ends the wait', async (t) => {
  let admit: () => void = () => {}
  const asked = () => {
    const before = rig.requests.length
    return until('a request', () => rig.requests.length > before)
  }
  verdict = () => new Promise((resolve) => (admit = () => resolve(undefined)))
  let request = asked()
  const kept = rig.run({ argv: ['sleep', '100'] })
  await request
  process.kill(pidOf(kept), 'SIGUSR2')
  admit()
  t.match(await kept.ended, { signal: 'SIGUSR2' })
  request = asked()
  const ended = rig.run({ argv: ['sleep', '100'] })
  await request
  process.kill(pidOf(ended), 'SIGTERM')
  t.match(await ended.ended, { signal: 'SIGTERM' })
})

t.test('suspend stops the task and then vmrm-run, resume continues both', async (t) => {
  const r = rig.run({ argv: sh('while :; do echo tick; sleep 0.02; done') })
  await hasPrinted(r, 'tick')
  const state = () => /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pidOf(r)}/status`, 'utf8'))?.[1]
  process.kill(pidOf(r), 'SIGTSTP')
  await until('vmrm-run to stop', () => state() === 'T')
  let still = 0
  let bytes = -1
  await until('silence', () => {
    still = r.stdoutBytes === bytes ? still + 1 : 0
    bytes = r.stdoutBytes
    return still > 50
  })
  process.kill(pidOf(r), 'SIGCONT')
  await until('ticks again', () => r.stdoutBytes > bytes + 20)
  process.kill(pidOf(r), 'SIGTERM')
  t.match(await r.ended, { signal: 'SIGTERM' })
})

t.test('kill -9 of vmrm-run kills the task, its children and the canary', async (t) => {
  const marker = `98765.${randomBytes(4).readUInt32LE()}`
  const r = runBatch(makeScript('killed', `#!/bin/sh\nsleep ${marker} & echo ready; sleep ${marker}\n`))
  await hasPrinted(r, 'ready')
  t.ok(isAlive(marker))
  const children = execFileSync('pgrep', ['-P', String(pidOf(r))], { encoding: 'utf8' }).trim()
  process.kill(pidOf(r), 'SIGKILL')
  await until('the end of the task', () => !isAlive(marker))
  await until('the end of the canary', () => {
    try {
      process.kill(Number(children), 0)
      return readFileSync(`/proc/${children}/stat`, 'latin1').includes(') Z ')
    } catch {
      return true
    }
  })
})

t.test('a reader of stdout that goes away is SIGPIPE to the task', async (t) => {
  const r = rig.run({ argv: ['yes'] })
  await until('output', () => r.stdoutBytes > 0)
  r.child.stdout?.destroy()
  t.match(await r.ended, { signal: 'SIGPIPE' })
})

t.test('a refusal is shown, and its exit code is the task’s', async (t) => {
  verdict = async () => ({ outcome: 'refused', text: 'vmrm: no.\nvmrm: Really.\n', exitCode: 65 })
  const r = rig.run({ argv: ['true'] })
  t.match(await r.ended, { code: 65 })
  t.equal(r.stderr, 'vmrm: no.\nvmrm: Really.\n')
})

t.test('a VM that is gone ends the task with the reason and exit code 1', async (t) => {
  const r = rig.run({ argv: sh('echo ready; exec sleep 100') })
  await hasPrinted(r, 'ready')
  rig.server.vmLost('j7r0v0', 'vmrm: The VM j7r0v0 is gone.')
  t.match(await r.ended, { code: 1 })
  t.equal(r.stderr, 'vmrm: The VM j7r0v0 is gone.\n')
})

t.test('bad command lines and a vmrmd that is not there are named', async (t) => {
  const cases = [
    { options: ['--nonsense', 'x'], code: 64, says: 'cannot use the option --nonsense' },
    { options: ['--job', '$(id)'], code: 64, says: 'knows no job' },
    {
      options: ['--socket', '/nowhere/task.sock', '--give-up', '1'],
      code: 69,
      says: 'does not answer on /nowhere/task.sock',
    },
  ]
  for (const { options, code, says } of cases) {
    const r = rig.run({ argv: ['true'], options })
    t.match(await r.ended, { code })
    t.match(r.stderr, says)
  }
})
