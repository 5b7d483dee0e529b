// `vmrm ssh` without a cluster: what a VM's answer means, and ssh's own reading of its command line. The real one: test/jobs/interactive.test.ts.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseJobKeys } from '../../lib/command/ssh/job-keys.ts'
import { holdKey } from '../../lib/command/ssh/key-holder.ts'
import { sshArgv } from '../../lib/command/ssh/ssh-argv.ts'
import { ssh } from '../../lib/command/ssh.ts'
import { secretBytes, vmSshKeys } from '../../lib/ssh/run-keys.ts'
import { until } from '../support/until.ts'

const keys = vmSshKeys({ secret: Buffer.alloc(secretBytes, 1), run: 'j1r0', index: 0, names: ['tiny-0001'] })

t.test('a VM tells its keys, or why there is no ssh', async (t) => {
  t.same(parseJobKeys('tiny-0001', `keys\n${keys.known}\n${keys.userKey}`), {
    known: `${keys.known}\n`,
    key: keys.userKey,
  })
  t.throws(() => parseJobKeys('tiny-0001', 'sshd\n'), {
    code: 'request-invalid',
    message: 'no ssh into VM tiny-0001: its image has no ssh server (sshd); `vmrm exec` needs none',
  })
  for (const answer of ['agent\n', 'files\n']) {
    t.throws(() => parseJobKeys('tiny-0001', answer), { code: 'request-invalid' }, answer)
  }
  for (const answer of ['', 'keys\n', 'constructor\n', `keys\n${keys.userKey}${' '.repeat(70_000)}`]) {
    t.throws(() => parseJobKeys('tiny-0001', answer), { code: 'command-failed' }, answer.slice(0, 20))
  }
})

t.test('ssh takes its command line as meant, whatever the caller has in his own configuration', async (t) => {
  const home = t.testdir()
  mkdirSync(join(home, '.ssh'))
  writeFileSync(join(home, '.ssh/config'), 'Host *\n\tPort 2222\n\tForwardAgent yes\n')
  const target = {
    ...{ user: 'alice', hostname: 'tiny-0001', knownHosts: '/tmp/vmrm-ssh-x/known_hosts', agentSocket: '/tmp/a' },
    connection: ['/opt/50%/it\'s "vmrm"', 'exec', '1+1'],
  }
  const argv = ['-G', ...sshArgv({ ...target, more: ['-o', 'User=bob', '-L', '8080:localhost:80', 'ls', '-l'] })]
  const shown = `\n${execFileSync('ssh', argv, { encoding: 'utf8', env: { ...process.env, HOME: home } })}`
  const expected = ['host tiny-0001', 'user alice', 'port 22', 'forwardagent no', 'hostkeyalias tiny-0001']
  expected.push('stricthostkeychecking true', 'identityagent /tmp/a', `userknownhostsfile ${target.knownHosts}`)
  for (const line of [...expected, 'localforward 8080 [localhost]:80']) t.match(shown, `\n${line}\n`)
  const [, proxy = ''] = /^proxycommand (.*)$/m.exec(shown) ?? []
  const echoed = proxy.replace('setsid "$@"', '{ printf "%s|" "$@"; cat; }').replaceAll('%%', '%')
  const output = execFileSync('/bin/sh', ['-c', echoed], { encoding: 'utf8', input: 'input' })
  t.equal(output, `${target.connection.join('|')}|input`)
})

t.test('the key is with an agent that goes with its owner', async (t) => {
  // A socket's path must be short.
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-test-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const socket = join(folder, 'agent')
  const list = () => execFileSync('ssh-add', ['-L'], { env: { ...process.env, SSH_AUTH_SOCK: socket } }).toString()
  const holder = await holdKey(socket, keys.userKey)
  t.ok(keys.authorized.startsWith(list().split(' ', 2).join(' ')))
  await holder.end()
  const isGone = async () => !existsSync(socket)
  await until('the agent has gone', isGone, 10_000)
  await t.rejects(holdKey(socket, 'no key'), { code: 'command-failed', message: /^ssh-add: / })
  await until('nothing is left of one that could not take it', isGone, 10_000)
})

t.test('what cannot be understood is told with the usage', async (t) => {
  await t.rejects(ssh.run([]), { name: 'UsageError', message: 'which job?' })
  await t.rejects(ssh.run(['1', 'ls']), { name: 'UsageError', message: /behind --$/ })
  await t.rejects(ssh.run(['1', '--vm', 'x']), { name: 'UsageError', message: /no number of a VM/ })
})
