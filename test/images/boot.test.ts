// The tiny image boots, and has what jobs need; its variants fail as they should. With QEMU alone, and a stand-in for the
// agent that runs commands: what is tested here is the image.
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { loadImage } from '../../lib/config/load.ts'
import { Ed25519Key } from '../../lib/ssh/ed25519.ts'
import { privateKeyFile } from '../../lib/ssh/private-key-file.ts'
import { bootByHand, type HandBootedVm, type HandBootOptions } from '../support/qemu-by-hand.ts'
import { sha256OfFile } from './stamp.ts'

const here = import.meta.dirname
// Kept between runs: the build knows whether it is up to date.
const output = '/var/tmp/vmrm-images-stand-in'
const bootMs = 60_000
const commandMs = 20_000

const imageNamed = (name: string) => loadImage(join(output, `${name}.xml`))

/** Runs commands in the guest, one after the other. */
class GuestShell {
  readonly #socket: Socket
  #text = ''
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      this.#text += chunk
      this.#wake()
    })
  }

  async run(command: string): Promise<{ code: number; output: string }> {
    this.#text = ''
    this.#socket.write(`${command}\n`)
    const deadline = AbortSignal.timeout(commandMs)
    for (;;) {
      const match = /^([\s\S]*)^exit (\d+)\n$/m.exec(this.#text)
      if (match !== null) return { output: (match[1] ?? '').trim(), code: Number(match[2]) }
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve
        deadline.onabort = () => reject(new Error(`${command}: no answer within ${commandMs} ms: ${this.#text}`))
        if (deadline.aborted) reject(new Error(`${command}: no answer`))
      })
    }
  }
}

async function boot(test: Test, options: HandBootOptions): Promise<HandBootedVm> {
  const vm = await bootByHand(options)
  test.teardown(() => vm.stop())
  return vm
}

async function bootToShell(test: Test, options: HandBootOptions): Promise<GuestShell> {
  const vm = await boot(test, options)
  await vm.awaitConsole('stand-in agent: ready', bootMs)
  const socket = connect(vm.portPath)
  test.teardown(() => socket.destroy())
  return new GuestShell(socket)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

// Downloads, a build and a dozen boots under TCG.
t.setTimeout(600_000)

t.before(async () => {
  const agent = join(here, 'fixtures/stand-in-agent')
  await execa(join(here, 'build'), ['tiny', '--output', output, '--agent', agent], { timeout: 240_000 })
})

/** Shell commands that must succeed in the guest, by what they show. */
const facts: Readonly<Record<string, string>> = {
  "the kernel is Debian's cloud kernel": 'uname -r | grep -q -- -cloud-amd64$',
  'the root is a writable ext4 with room for files':
    'touch /x && test $(stat -f -c %T /) = ext2/ext3 && df -m / | awk "NR==2{exit !(\\$4>1500)}"',
  'an NFS client can be loaded': 'modprobe nfsv4 && grep -q nfs4 /proc/filesystems',
  'mounting NFS gets as far as the network':
    'mount.nfs4 -V && ! mount -t nfs4 -o retry=0,timeo=5,retrans=1 127.0.0.1:/x /mnt',
  'a seed on ISO 9660 can be loaded': 'modprobe isofs && grep -q iso9660 /proc/filesystems',
  'overlay file systems can be loaded': 'modprobe overlay && grep -q overlay /proc/filesystems',
  'GNU coreutils come before busybox': 'ls --version | grep -q GNU && nproc --version | grep -q GNU',
  'scripts with usual interpreters run':
    'for s in /bin/sh /bin/bash /usr/bin/bash; do test -x $s || exit 1; done; env -i /usr/bin/env bash -c true',
  'awk, sed, grep, find, tar and ps work':
    'ps ax | grep -q init && find /etc -name passwd | sed s/a/b/ | awk 1 && tar cf - /etc/passwd | tar t',
  'C.UTF-8 is a known locale': 'test "$(printf "\\xc3\\xa4" | LC_ALL=C.UTF-8 wc -m)" = 1',
  'users are looked up in files': 'test "$(id -u nobody)" = 65534 && getent passwd root 2>/dev/null || id root',
  'the loopback device is up': 'ip addr show lo | grep -q 127.0.0.1',
  'a network card is there': 'ls /sys/class/net/eth0',
  '/tmp and /var/tmp are for everybody': 'test "$(stat -c %a /tmp /var/tmp | tr "\\n" " ")" = "1777 1777 "',
  '/dev/shm, pts and fd are there': 'test -d /dev/shm && test -c /dev/pts/ptmx && test -e /dev/fd/0 && cat < <(echo x)',
  'control groups are of version 2':
    'test -f /sys/fs/cgroup/cgroup.controllers && grep -q memory /sys/fs/cgroup/cgroup.controllers',
  'no ssh host key is in the image': '! ls /etc/ssh/ssh_host_*',
  'no account has a password': '! grep -v ":[*!]" /etc/shadow',
}

t.test('a job finds what it needs', async (test) => {
  const shell = await bootToShell(test, { image: imageNamed('tiny') })
  for (const [name, command] of Object.entries(facts)) {
    const { code, output: text } = await shell.run(command)
    test.equal(code, 0, `${name}${code === 0 ? '' : `: ${text}`}`)
  }
})

t.test('CPUs and memory follow what the VM is given', async (test) => {
  for (const { cpus, memoryMib } of [
    { cpus: 1, memoryMib: 96 },
    { cpus: 2, memoryMib: 256 },
    { cpus: 8, memoryMib: 1024 },
  ]) {
    await test.test(`${cpus} CPUs and ${memoryMib} MiB`, async (sub) => {
      const shell = await bootToShell(sub, { image: imageNamed('tiny'), cpus, memoryMib })
      sub.equal((await shell.run('nproc')).output, String(cpus))
      const { output: kib } = await shell.run("awk '/^MemTotal/{print $2}' /proc/meminfo")
      sub.ok(Number(kib) / 1024 <= memoryMib, 'no more than it was given')
      sub.ok(Number(kib) / 1024 > memoryMib - 70 - memoryMib * 0.05, `most of what it was given: ${kib} KiB`)
      sub.equal((await shell.run('bash -c "exit 7"')).code, 7, 'programs run')
    })
  }
})

t.test('the ssh server finds a host key that comes after it', async (test) => {
  const sshPort = await freePort()
  const shell = await bootToShell(test, { image: imageNamed('tiny'), sshPort })
  const network = await shell.run('ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0')
  test.equal(network.code, 0, network.output)
  const key = new Ed25519Key(randomBytes(32))
  const file = '/etc/ssh/ssh_host_ed25519_key'
  const put = await shell.run(`umask 077; printf -- '${privateKeyFile(key, '').replaceAll('\n', '\\n')}' > ${file}`)
  test.equal(put.code, 0, put.output)
  const options = ['-T', '15', '-t', 'ed25519', '-p', String(sshPort), '127.0.0.1']
  const { stdout } = await execa('/usr/bin/ssh-keyscan', options, { timeout: 30_000, reject: false })
  test.ok(stdout.includes(key.publicLine), stdout)
})

t.test('a panic at boot ends the VM and says so', async (test) => {
  const vm = await boot(test, { image: imageNamed('tiny-panic') })
  const end = await Promise.race([
    vm.ended,
    AbortSignal.timeout(bootMs) && vm.awaitConsole('never', bootMs).catch(() => vm.ended),
  ])
  test.match(end, { code: 0, signal: null })
  test.match(vm.console(), /this image panics on purpose/)
  test.match(vm.console(), /Kernel panic - not syncing/)
})

t.test('a hang at boot is silent but for its reason', async (test) => {
  const vm = await boot(test, { image: imageNamed('tiny-hang') })
  await vm.awaitConsole('this image hangs on purpose', bootMs)
  await test.rejects(vm.awaitAgent(2000), /did not answer within 2000 ms/)
})

t.test('an image without a kernel does not start', async (test) => {
  const vm = await boot(test, { image: imageNamed('tiny-noboot') })
  await test.rejects(vm.awaitAgent(4000))
  test.notMatch(vm.console(), /stand-in agent/)
})

t.test('the master is the same after all of that', async (test) => {
  const { master } = imageNamed('tiny')
  test.equal(await sha256OfFile(master.path), master.sha256)
  test.match(await readFile(join(output, 'tiny.stamp.json'), 'utf8'), master.sha256 as string)
})
