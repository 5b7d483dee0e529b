// What a task is given, and how its end is told, through the real agent.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { joinTexts, u32Field } from '../../../lib/guest/frame/fields.ts'
import { Task, type TaskOptions } from './task.ts'
import { checkGuest, startGuest, user } from './with-agent.ts'

const sh = (script: string, ...args: string[]): readonly string[] => ['sh', '-c', script, ...args]

t.test('the end of a task is told as it was', async (t) => {
  const guest = await startGuest(t)
  const matrix = [
    ['exit 0', { kind: 'exited', value: 0 }],
    ['exit 7', { kind: 'exited', value: 7 }],
    ['exit 255', { kind: 'exited', value: 255 }],
    ...['KILL', 'TERM', 'INT', 'USR1', 'SEGV', 'PIPE', 'ALRM', 'HUP'].map(
      (signal) => [`kill -${signal} $$`, { kind: 'signaled', signal }] as const,
    ),
    ['kill -35 $$', { kind: 'signaled', signal: 'RTMIN+1' }],
  ] as const
  for (const [script, result] of matrix) {
    const task = new Task(guest.host, { argv: sh(`ulimit -c 0; echo out; echo err >&2; ${script}`) })
    t.strictSame(await task.ended(), result, script)
    t.strictSame([task.outText, task.errText], ['out\n', 'err\n'], `${script}: output arrives in front of the end`)
    t.ok(task.isOpened && task.stdout.ended && task.stderr.ended, `${script}: OPENED and both ENDs came`)
    task.close()
  }
  checkGuest(t, guest)
})

t.test('what cannot be run is refused with the errno', async (t) => {
  const guest = await startGuest(t)
  const matrix: readonly (readonly [string, TaskOptions, string, number | undefined, string])[] = [
    [
      'no such command',
      { argv: ['nosuchcommand'] },
      'exec-failed',
      2,
      'execve(): nosuchcommand: No such file or directory',
    ],
    ['no such path', { argv: ['/no/such'] }, 'exec-failed', 2, 'execve(): /no/such: No such file or directory'],
    ['a folder', { argv: ['/tmp'] }, 'exec-failed', 13, 'execve(): /tmp: Permission denied'],
    [
      'found but not executable',
      { argv: ['passwd'], env: { PATH: '/nowhere:/etc' } },
      'exec-failed',
      13,
      'execve(): passwd: Permission denied',
    ],
    ['an empty command', { argv: [''] }, 'exec-failed', 2, 'execve(): : No such file or directory'],
    [
      'a script where root reads',
      {
        argv: ['/etc/profile.d/x.sh'],
        fields: [
          [5, '/etc/profile.d/x.sh'],
          [6, 'x'],
        ],
      },
      'script-failed',
      1,
      'cannot write the script /etc/profile.d/x.sh: Operation not permitted',
    ],
    [
      'a script in a folder of the system that is not there',
      {
        argv: ['/var/lib/dpkg/info/x'],
        fields: [
          [5, '/var/lib/dpkg/info/x'],
          [6, 'x'],
        ],
      },
      'script-failed',
      1,
      'cannot write the script /var/lib/dpkg/info/x: Operation not permitted',
    ],
    [
      'a script over a link to such a folder',
      {
        argv: ['/bin/x'],
        fields: [
          [5, '/bin/x'],
          [6, 'x'],
        ],
      },
      'script-failed',
      1,
      'cannot write the script /bin/x: Operation not permitted',
    ],
    [
      'a script with ..',
      {
        argv: ['/tmp/../etc/x'],
        fields: [
          [5, '/tmp/../etc/x'],
          [6, 'x'],
        ],
      },
      'bad-spec',
      undefined,
      'a field of what to run makes no sense',
    ],
    ['no command', { argv: [] }, 'bad-spec', undefined, 'there is no command to run'],
    [
      'a NUL in an argument',
      { argv: ['true', 'a\0b'] },
      'bad-spec',
      undefined,
      'a field of what to run makes no sense',
    ],
    [
      'a variable without =',
      { argv: ['true'], fields: [[2, 'HOME']] },
      'bad-spec',
      undefined,
      'a field of what to run makes no sense',
    ],
  ]
  for (const [name, options, code, number, text] of matrix) {
    const task = new Task(guest.host, options)
    t.strictSame(await task.ended(), { kind: 'error', code, number, text }, name)
    t.notOk(task.isOpened, `${name}: never opened`)
    task.close()
  }
  checkGuest(t, guest)
})

t.test('before there is an identity nothing runs', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const task = new Task(guest.host, { argv: ['true'] })
  t.match(await task.ended(), { kind: 'error', code: 'no-identity' })
  checkGuest(t, guest)
})

const priorityOf = (pid: number): string =>
  execFileSync('ps', ['-o', 'ni=,cls=', '-p', String(pid)], { encoding: 'latin1' })

t.test('a task is the user, and has what its spec says', async (t) => {
  const guest = await startGuest(t)
  const nasty = ' "\'$(id)`;\n\\*\u00e9'
  const matrix: readonly (readonly [string, TaskOptions, string])[] = [
    ['ids', { argv: sh('id -u; id -g; id -G') }, `${user.uid}\n${user.gid}\n${user.gid} ${user.extraGid}\n`],
    [
      'arguments are data',
      { argv: ['printf', '%s|', nasty, '', '-n'] },
      Buffer.from(`${nasty}||-n|`).toString('latin1'),
    ],
    [
      'environment is data and all there is',
      { argv: ['env'], env: { A: nasty } },
      Buffer.from(`PATH=/usr/bin:/bin\nA=${nasty}\n`).toString('latin1'),
    ],
    ['folder', { argv: ['pwd'], fields: [[3, '/usr/share']] }, '/usr/share\n'],
    ['umask', { argv: sh('umask'), fields: [[4, u32Field(0o27)]] }, '0027\n'],
    ['default umask', { argv: sh('umask') }, '0022\n'],
    [
      'limits',
      {
        argv: sh('ulimit -n; ulimit -Hn; ulimit -s'),
        fields: [
          [7, joinTexts(['NOFILE', '100', '200'])],
          [7, joinTexts(['RLIMIT_STACK', 'unlimited', 'unlimited'])],
        ],
      },
      '100\n200\nunlimited\n',
    ],
    ['CPUs', { argv: ['nproc'], fields: [[8, '0']] }, '1\n'],
    ['CPUs that are not there are no error', { argv: ['echo', 'ok'], fields: [[8, '900-902']] }, 'ok\n'],
    ['open files', { argv: sh('ls /proc/self/fd') }, '0\n1\n2\n3\n'],
    [
      'signals',
      { argv: ['grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status'] },
      'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n',
    ],
    ['no capability', { argv: ['grep', 'CapEff', '/proc/self/status'] }, 'CapEff:\t0000000000000000\n'],
    ['protection of the agent is not inherited', { argv: ['cat', '/proc/self/oom_score_adj'] }, '0\n'],
    ['nor are its priority and policy', { argv: sh('ps -o ni=,cls= -p $$') }, priorityOf(process.pid)],
    [
      'its pipes can be opened by name',
      { argv: sh('echo one > /dev/stdout; cat < /dev/stdin'), stdin: Buffer.from('two') },
      'one\ntwo',
    ],
    ['no stdin', { argv: sh('readlink /proc/self/fd/0'), stdin: 'null' }, '/dev/null\n'],
    ['a session of its own', { argv: sh('[ $(ps -o sid= -p $$) -eq $$ ] && echo yes') }, 'yes\n'],
  ]
  for (const [name, options, output] of matrix) {
    const task = new Task(guest.host, options)
    t.strictSame(await task.ended(), { kind: 'exited', value: 0 }, `${name}: ends well`)
    t.equal(task.outText, output, name)
    t.equal(task.errText, '', `${name}: no complaint`)
    task.close()
  }
  checkGuest(t, guest)
})

t.test('a folder that cannot be entered is told, and /tmp serves', async (t) => {
  const guest = await startGuest(t)
  for (const [folder, why] of [
    ['/no/such', 'No such file or directory'],
    ['/root', 'Permission denied'],
  ] as const) {
    const task = new Task(guest.host, { argv: ['pwd'], fields: [[3, folder]] })
    t.strictSame(await task.ended(), { kind: 'exited', value: 0 }, folder)
    t.equal(task.outText, '/tmp\n')
    t.equal(task.errText, `vmrm: error: couldn't chdir to \`${folder}': ${why}: going to /tmp instead\n`)
    task.close()
  }
  checkGuest(t, guest)
})

t.test('a batch script is written for the user and run by its first line', async (t) => {
  const guest = await startGuest(t)
  guest.agent.inside(['chmod', '755', guest.agent.folder])
  const firstPath = `${guest.agent.folder}/spool/job1/slurm_script`
  const debianPath = '/var/lib/slurm/slurmd/job1/slurm_script'
  const script = '#!/bin/sh\necho "$0"; stat -c "%a %u" "$0" "$(dirname "$0")"; echo "$1"\n'
  for (const [round, path] of [
    ['first', firstPath],
    ['again', firstPath],
    ["in Debian's folder", debianPath],
  ] as const) {
    const task = new Task(guest.host, {
      argv: [path, 'a b'],
      fields: [
        [5, path],
        [6, script],
      ],
    })
    t.strictSame(await task.ended(), { kind: 'exited', value: 0 }, round)
    t.equal(task.outText, `${path}\n700 ${user.uid}\n755 0\na b\n`, round)
    task.close()
  }
  guest.agent.inside(['sh', '-c', `ln -sfn /etc/hosts ${firstPath}`])
  const task = new Task(guest.host, {
    argv: [firstPath],
    fields: [
      [5, firstPath],
      [6, script],
    ],
  })
  t.match(await task.ended(), { kind: 'error', code: 'script-failed', number: 17 }, 'a link is not followed')
  const big = Buffer.concat([Buffer.from('#!/bin/sh\nwc -c < "$0"; exit\n'), randomBytes(3_000_000)])
  const bigPath = `${guest.agent.folder}/spool/job2/slurm_script`
  const bigTask = new Task(guest.host, {
    argv: [bigPath],
    fields: [
      [5, bigPath],
      [6, big],
    ],
  })
  t.strictSame(await bigTask.ended(), { kind: 'exited', value: 0 })
  t.equal(bigTask.outText, `${big.length}\n`, 'a script of 3 MB arrives whole')
  checkGuest(t, guest)
})

t.test('a terminal is one', async (t) => {
  const guest = await startGuest(t)
  const task = new Task(guest.host, {
    argv: sh('tty && stty size && read line && stty size && echo "got $line" && cat && echo end'),
    stdin: 'open',
    fields: [[9, joinTexts(['xterm', '31', '97'])]],
  })
  await task.printed('31 97\r\n')
  task.resize(40, 120)
  task.writeStdin('hello\n')
  await task.printed('got hello')
  task.endStdin()
  t.strictSame(await task.ended(), { kind: 'exited', value: 0 })
  t.match(task.outText, /^\/dev\/pts\/\d+\r\n31 97\r\nhello\r\n40 120\r\ngot hello\r\nend\r\n$/)
  checkGuest(t, guest)
})
