// Into a running job: vmrm exec, cp, ssh and console, and shells at a terminal, which behave as on the node itself.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { openTerminal, type Terminal } from '../support/terminal.ts'
import { until } from '../support/until.ts'

t.setTimeout(600_000)

const cluster = join(import.meta.dirname, '../cluster/cluster')
const local = /LOCAL> $/
const remote = /REMOTE> $/

/** A shell of alice's on the controller's host, at a terminal. */
async function openShell(): Promise<Terminal> {
  const terminal = await openTerminal([cluster, 'run', '--user', 'alice', '--', 'bash', '--norc', '--noediting'])
  terminal.send("PS1='LOCAL''> '\n")
  await terminal.expect(local)
  return terminal
}

async function modes(terminal: Terminal): Promise<string> {
  terminal.send('echo "modes $(stty -g)"\n')
  const [, found = ''] = await terminal.expect(/modes ([0-9a-f:]+)\r\n/)
  await terminal.expect(local)
  return found
}

/** Types at a shell that `line` starts, and tells what it did; where it runs must make no difference. */
async function play(terminal: Terminal, line: string): Promise<{ host: string; seen: Record<string, string> }> {
  const seen: Record<string, string> = {}
  const type = async (text: string, shows: RegExp) => {
    terminal.send(text)
    return (await terminal.expect(shows))[1] ?? ''
  }
  const before = await modes(terminal)
  terminal.send(`${line}\n`)
  // What the shell's own settings print as a prompt is not known: this one's is.
  terminal.send("bind 'set enable-bracketed-paste off'; PS1='REMOTE''> '\n")
  await terminal.expect(remote)
  const host = await type('echo "host $(hostname)"\n', /host ([\w-]+)\r\n/)
  seen.size = await type('stty size; tty\n', /(\d+ \d+\r\n\/dev\/pts)/)
  seen.term = await type('echo "term $TERM"\n', /term (\w+)\r\n/)
  await terminal.expect(remote)
  // stty changes rows and columns one after the other: a window's change is heard of twice.
  terminal.send(
    `trap 'new=$(stty size)' WINCH; echo "tr$((1))ap"; until [ "\${new#* }" = 120 ]; do read -rt 1; done; echo "now $new"\n`,
  )
  await terminal.expect(/tr1ap\r\n/)
  terminal.resize(50, 120)
  seen.resized = await type('', /now (\d+ \d+)\r\n/)
  await terminal.expect(remote)
  const during = async (key: string) => {
    // Said by what the key is for: a shell passes over some keys.
    terminal.send("sh -c 'echo be$((1))gins; exec cat'\n")
    await terminal.expect(/be1gins\r\n/)
    terminal.send(key)
    await terminal.expect(remote)
    return type('echo "code $?"\n', /code (\d+)\r\n/)
  }
  seen['Ctrl-C'] = await during('\x03')
  seen['Ctrl-D'] = await during('\x04')
  terminal.send('ulimit -c 0\n')
  seen['Ctrl-\\'] = await during('\x1c')
  seen['Ctrl-Z'] = await during('\x1a')
  seen.stopped = await type('jobs\n', /(Stopped) .*cat/)
  terminal.send('fg\n')
  await terminal.expect(/cat'?\r\n/)
  seen.continued = await type('echoed\n', /(echoed\r\n(?:.*\r\n)?echoed)/)
  terminal.send('\x1a')
  await terminal.expect(remote)
  seen.background = await type('bg; kill %1; wait; echo "left $(jobs -r | wc -l)"\n', /left (\d+)\r\n/)
  terminal.send('top -d 100\n')
  // Cursor to the upper left, as a full-screen program does, with its first line.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
  seen.screen = await type('', /(\u001b\[H)/)
  terminal.send('q')
  await terminal.expect(remote)
  seen.bulk = await type('seq 30000 | tr "\\n" " "; echo "su$((0))m"\n', /(29999 30000) su0m\r\n/)
  terminal.send('exit 5\n')
  await terminal.expect(local)
  seen.exit = await type('echo "ended $?"\n', /ended (\d+)\r\n/)
  await terminal.expect(local)
  terminal.resize(40, 100)
  seen.modes = (await modes(terminal)) === before ? 'as before' : 'others'
  return { host, seen }
}

async function testExec(t: Test, jobs: Jobs, job: string): Promise<void> {
  const exec = (...args: string[]) => jobs.alice(['vmrm', 'exec', ...args])
  const listed = JSON.parse((await jobs.alice(['vmrm', 'ps', '--json'])).stdout) as [
    { job: number; vms: { hostname: string }[] },
  ]
  const names = listed[0].vms.map((vm) => vm.hostname)
  for (const [index, hostname] of names.entries()) {
    const found = await exec(
      job,
      '--vm',
      String(index),
      '--',
      'sh',
      '-c',
      'hostname; id -un; echo "$1" >&2; exit 7',
      'sh',
      '$(id) *',
    )
    t.match(found, { exitCode: 7, stdout: `${hostname}\nalice\n` }, `VM ${index}`)
    t.match(found.stderr, /^\$\(id\) \*\n/)
  }
  t.not(names[0], names[1])
  t.equal((await exec(job, '--', 'sh', '-c', 'kill -TERM $$')).exitCode, 143, 'a signal, as srun tells it')
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, at) => (at * 7919) % 251))
  writeFileSync(jobs.home('bytes'), bytes)
  const piped = await jobs.alice(['sh', '-c', `vmrm exec ${job} -- cat < bytes | cmp - bytes && echo same`])
  t.equal(piped.stdout, 'same\n', piped.stderr)
  t.equal((await jobs.alice(['vmrm', 'exec', job], { input: 'echo "shell $0"\n' })).stdout, 'shell /bin/bash\n')
  const asRoot = await jobs.cluster.run(['vmrm', 'exec', job, '--', 'sh', '-c', 'id -u; echo $HOME'])
  t.equal(asRoot.stdout, '2001\n/home/alice\n', "root is the job's user")
  const plain = await jobs.submit('#!/bin/sh\nsleep 600\n', { arguments: ['--nodelist=n2', '--mem=100'] })
  const held = await jobs.submit('#!/bin/sh\n', { arguments: ['--hold', '--vm-image=tiny'] })
  await until(
    'the plain job runs',
    async () => (await jobs.alice(['squeue', '-h', '-t', 'R', '-j', String(plain)])).stdout !== '',
    60_000,
  )
  const refusals: [string, string[], RegExp][] = [
    ['bob', [job], /^vmrm: job \S+ is alice's\n/],
    ['alice', [job, '--vm', '2'], /^vmrm: job \S+ has no VM 2: it has 2 VMs, numbers 0 to 1\n/],
    ['alice', ['4000000'], /^vmrm: there is no job 4000000 that you may see\n/],
    ['alice', [String(plain)], /^vmrm: job \d+ has no VMs\n/],
    ['alice', [String(held)], /^vmrm: job \d+ is PENDING: it has VMs once it runs\n/],
  ]
  for (const [user, args, says] of refusals) {
    const found = await jobs.cluster.run(['vmrm', 'exec', ...args, '--', 'true'], { user })
    t.equal(found.exitCode, 65, `${user} ${args.join(' ')}`)
    t.match(found.stderr, says)
  }
  await jobs.alice(['scancel', String(plain), String(held)])
}

async function testCp(t: Test, jobs: Jobs, job: string): Promise<void> {
  const cp = (...args: string[]) => jobs.alice(['vmrm', 'cp', ...args])
  mkdirSync(jobs.home('tree/sub'), { recursive: true })
  writeFileSync(jobs.home('tree/a b'), 'first', { mode: 0o640 })
  writeFileSync(jobs.home('tree/sub/*'), 'star')
  await jobs.cluster.run(['chown', '-R', 'alice:', '/home/alice/tree'])
  t.match(await cp('-r', 'tree', 'bytes', `${job}.1:/tmp/`), { exitCode: 0, stderr: '' })
  const there = await jobs.alice([
    'vmrm',
    'exec',
    job,
    '--vm',
    '1',
    '--',
    'sh',
    '-c',
    'cd /tmp; stat -c "%a %U %n" "tree/a b" tree/sub/*; cmp bytes ~/bytes && echo same',
  ])
  t.equal(there.stdout, '640 alice tree/a b\n644 alice tree/sub/*\nsame\n')
  t.match(await cp('-r', `${job}.1:/tmp/tree`, 'back'), { exitCode: 0, stderr: '' })
  t.equal((await jobs.alice(['diff', '-r', 'tree', 'back'])).exitCode, 0)
  await jobs.alice(['rm', '-r', 'back'])
  t.match(await cp(`${job}.1:/tmp/tree/sub/*`, 'star'), { exitCode: 0 })
  t.equal(readFileSync(jobs.home('star'), 'utf8'), 'star')
  t.match(await cp(`${job}:/tmp/none`, '.'), {
    exitCode: 1,
    stderr: `vmrm: ${job}:/tmp/none: No such file or directory\n`,
  })
  t.match(await cp('none', `${job}:`), { exitCode: 1, stderr: 'vmrm: none: No such file or directory\n' })
  const asRoot = await jobs.cluster.run(['vmrm', 'cp', '/etc/shadow', `${job}:/tmp/`])
  t.match(asRoot, { exitCode: 0 }, 'root reads here what root may')
  t.match(
    (await jobs.alice(['vmrm', 'exec', job, '--', 'stat', '-c', '%U', '/tmp/shadow'])).stdout,
    'alice\n',
    "and the file there is the job's user's",
  )
}

async function testConsole(t: Test, jobs: Jobs, job: string, name: string): Promise<void> {
  const console = (user: string, ...args: string[]) => jobs.cluster.run(['vmrm', 'console', ...args], { user })
  const exec = (...args: string[]) => jobs.alice(['vmrm', 'exec', ...args])
  t.match(await console('bob', job), { exitCode: 65, stderr: /^vmrm: job \d+ has no VMs that you may see\n/ })
  t.match(await console('alice', '--attach', job), { exitCode: 65, stderr: /^vmrm: only root may attach/ })
  t.match(await console('root', '--attach', job), {
    exitCode: 65,
    stderr: `vmrm: VM ${name} is on node n1, and so is its console: ssh -t n1 vmrm console --attach ${job} --vm 0\n`,
  })
  const terminal = await openTerminal([cluster, 'run', '--node', 'n1', '--', 'bash', '--norc', '--noediting'])
  try {
    terminal.send("PS1='LOCAL''> '\n")
    await terminal.expect(local)
    const before = await modes(terminal)
    terminal.send(`vmrm console --attach ${job}\n`)
    await terminal.expect(/the console of VM \S+ \(tiny-\d+\); Ctrl-\] detaches/)
    // The image has no login there: its kernel shows what is typed, and complains of a mount that a user may try.
    terminal.send('typed at the console\r')
    await terminal.expect(/typed at the console\r+\n/)
    await exec(job, '--', 'unshare', '-Urm', 'mount', '-t', 'tmpfs', '-o', 'nonsense=1', 'none', '/mnt')
    await terminal.expect(/tmpfs: Unknown parameter 'nonsense'/)
    const second = await jobs.cluster.run(['vmrm', 'console', '--attach', job], { node: 'n1' })
    t.match(second, { exitCode: 65, stderr: /^vmrm: another process on this node is attached to the console of VM/ })
    terminal.send('\x1d')
    await terminal.expect(/vmrm: detached\r\n/)
    await terminal.expect(local)
    t.equal(await modes(terminal), before, 'the terminal is as it was')
  } finally {
    await terminal.hangUp()
  }
  t.equal((await console('root', job)).stdout, (await console('alice', job)).stdout)
  t.match((await console('alice', job)).stdout, /typed at the console\r\n[\s\S]*'nonsense'/, 'the log has it, too')
}

async function testSsh(t: Test, jobs: Jobs, job: string): Promise<void> {
  const hostile = 'mkdir -pm700 .ssh; printf "Host *\\n\\tProxyCommand false\\n\\tUser bob\\n" >.ssh/config; ls -A .ssh'
  t.equal((await jobs.alice(['sh', '-c', hostile])).stdout, 'config\n')
  const script = 'id -un; hostname; cmp bytes - && echo same; exit 7'
  const piped = await jobs.alice(['sh', '-c', `vmrm ssh ${job} --vm 1 -- -T '${script}' <bytes`])
  t.match(piped, { exitCode: 7, stdout: /^alice\ntiny-\d+\nsame\n$/, stderr: '' })
  const asRoot = await jobs.cluster.run(['vmrm', 'ssh', job, '--', 'id', '-u'])
  t.match(asRoot, { exitCode: 0, stdout: '2001\n', stderr: '' }, "root is the job's user")
  t.match(await jobs.cluster.run(['vmrm', 'ssh', job], { user: 'bob' }), { exitCode: 65, stderr: /is alice's\n/ })
  const left = async () =>
    (await jobs.cluster.run(['sh', '-c', 'ls -d /tmp/vmrm-ssh-*; pgrep -xl "ssh|ssh-agent"'])).stdout
  t.equal(await left(), '', 'nothing is left of it')
  const terminal = await openShell()
  terminal.send(`vmrm ssh ${job} -- 'echo here; exec sleep 98766'\n`)
  await terminal.expect(/here\r\n/)
  t.match(await left(), /ssh-agent\n/)
  await terminal.hangUp()
  await until('nothing is left of one that was hung up', async () => (await left()) === '', 60_000)
  t.equal((await jobs.alice(['ls', '-A', '.ssh'])).stdout, 'config\n')
  await jobs.alice(['rm', '-r', '.ssh'])
}

/** Once the terminal is gone, so is what was started at it; a step that is killed leaves no raw terminal. */
async function testEnds(t: Test, jobs: Jobs, job: string): Promise<void> {
  const count = async () =>
    (await jobs.alice(['vmrm', 'exec', job, '--', 'sh', '-c', 'pgrep -cf "slee[p] 98765"'])).stdout.trim()
  const terminal = await openShell()
  try {
    const before = await modes(terminal)
    terminal.send(`vmrm exec ${job} -- sh -c 'echo "step $SLURM_STEP_ID"; exec sleep 98765'\n`)
    const [, step = ''] = await terminal.expect(/step (\d+)\r\n/)
    t.equal(await count(), '1')
    await jobs.alice(['scancel', '--signal=KILL', `${job}.${step}`])
    await terminal.expect(local)
    t.equal(await modes(terminal), before, 'the terminal is as it was')
    await until('the process has gone', async () => (await count()) === '0', 60_000)
    terminal.send(`vmrm exec ${job} -- sh -c 'echo "step $SLURM_STEP_ID"; exec sleep 98765'\n`)
    await terminal.expect(/step (\d+)\r\n/)
  } finally {
    await terminal.hangUp()
  }
  await until('the process has gone with its terminal', async () => (await count()) === '0', 60_000)
}

t.test('into a running job, and shells at a terminal', (t) =>
  withJobs(t, 'interactive', async (jobs) => {
    const script = '#!/bin/sh\necho started\nsleep 3600\n'
    const array = ['--array=4', '--output=/home/alice/job-%A.out', '--nodelist=n1', '-n2', '--mem=900']
    const id = await jobs.submit(script, { arguments: [...array, '--vm-image=tiny', '--vm-per-node=2'] })
    await jobs.awaitOutput(id, 'started')
    try {
      const job = `${id}_4`
      await t.test('exec', (t) => testExec(t, jobs, job))
      await t.test('cp', (t) => testCp(t, jobs, job))
      await t.test('ssh', (t) => testSsh(t, jobs, job))
      await t.test('console', (t) => testConsole(t, jobs, job, `j${id}r0v0`))
      await t.test('ends', (t) => testEnds(t, jobs, String(id)))
      writeFileSync(
        jobs.home('slurm.conf'),
        'include /etc/slurm/slurm.conf\nPlugStackConfig=/etc/slurm/plugstack.conf\nLaunchParameters=use_interactive_step\n',
      )
      const shells = {
        'srun --pty': 'srun --nodelist=n2 --mem=600 --vm-image=tiny --pty bash --norc --noediting',
        salloc: 'SLURM_CONF=$HOME/slurm.conf SHELL=/bin/bash salloc --nodelist=n2 --mem=600 --vm-image=tiny',
        'vmrm exec': `vmrm exec ${job} -- bash --norc --noediting`,
        'srun --pty, typed in a VM': `vmrm exec ${job} -- srun --overlap -N1 -n1 --pty bash --norc --noediting`,
        'salloc, typed in a VM': `vmrm exec ${job} -- salloc --nodelist=n2 --mem=100 bash --norc --noediting`,
        'vmrm ssh': `vmrm ssh ${job} -- -t exec bash --norc --noediting`,
      }
      const terminal = await openShell()
      try {
        const plain = await play(terminal, 'srun --nodelist=n2 --mem=100 --pty bash --norc --noediting')
        t.equal(plain.host, 'n2')
        t.match(plain.seen, {
          size: '40 100\r\n/dev/pts',
          resized: '50 120',
          'Ctrl-C': '130',
          exit: '5',
          modes: 'as before',
        })
        for (const [name, line] of Object.entries(shells)) {
          const { host, seen } = await play(terminal, line)
          t.match(host, /^tiny-\d+$/, name)
          t.same(seen, plain.seen, `${name}: as on the node`)
        }
      } finally {
        await terminal.hangUp()
      }
    } finally {
      await jobs.alice(['scancel', '--user=alice'])
    }
    await jobs.ended(id)
  }),
)
