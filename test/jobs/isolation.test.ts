// What one user can do to another's VMs, and what a guest's root can do to host, network and files: tried on the real cluster.
// Alice's VM and bob's are on the same node; every try that must fail is also made by somebody for whom it works.
import { copyFileSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { machineUid } from '../cluster/users.ts'
import { ended, jobOutput, submit } from '../support/batch.ts'
import { type Cluster, type Finished, withCluster } from '../support/cluster.ts'
import { makeRootedImage, type RootedImage, sha256Of } from '../support/rooted-image.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'

t.setTimeout(900_000)

const folder = join(import.meta.dirname, 'isolation')
const bobUid = 2002
const bootMs = 240_000
const node = 'n1'

interface Vm {
  readonly job: number
  readonly run: string
  readonly address: string
  readonly pid: number
  readonly uid: number
}

interface Scene {
  readonly cluster: Cluster
  readonly image: RootedImage
  readonly alice: Vm
  readonly bob: Vm
}

const homeOf = (cluster: Cluster, user: string, name: string) => join(cluster.layout.folder, 'home', user, name)

/** Names of what was tried with success. */
const doneIn = (text: string): string[] => [...text.matchAll(/^DONE (.*)$/gm)].map(([, name = '']) => name).sort()

/** A job that waits for its end inside a VM, and what an administrator sees of the VM. */
async function startVm(cluster: Cluster, user: string, image: string): Promise<Vm> {
  const more = [`--nodelist=${node}`, '--mem=500', `--vm-image=${image}`]
  const job = await submit(cluster, 'echo up\nexec sleep 3000', { user, arguments: more })
  await until(`the VM of ${user}`, async () => (await jobOutput(cluster, job, user)).includes('up'), bootMs)
  const { stdout } = await cluster.run(['vmrm', 'ps', '--json', String(job)])
  const address = /"address": "([^"]+)"/.exec(stdout)?.[1] ?? ''
  if (address === '') throw new Error(`vmrm ps knows no address of job ${job}: ${stdout}`)
  const run = `j${job}r0`
  const pid = Number((await cluster.run(['cat', `/run/libvirt/qemu/${run}v0.pid`], { node })).stdout)
  const uid = Number((await cluster.run(['stat', '-c', '%u', `/proc/${pid}`], { node })).stdout)
  return { job, run, address, pid, uid }
}

/** A command in the user's VM. */
function inVm(cluster: Cluster, user: string, vm: Vm, argv: readonly string[], timeoutMs = 120_000): Promise<Finished> {
  const step = ['srun', `--jobid=${vm.job}`, '--overlap', '--nodes=1', '--ntasks=1', '--chdir=/', ...argv]
  return cluster.run(step, { user, timeoutMs })
}

/** attempts.sh against a VM, as a user of the host. */
async function attempts(scene: Scene, vm: Vm, who: { user?: string; uid?: number; host: string; slurm?: 'job' }) {
  const as = who.uid === undefined ? [] : ['setpriv', `--reuid=${who.uid}`, '--regid=kvm', '--clear-groups']
  const job = who.slurm === 'job' ? ['srun', `--nodelist=${node}`, '--mem=50'] : []
  const input = `run=${vm.run} pid=${vm.pid} address=${vm.address}\n${readFileSync(join(folder, 'attempts.sh'), 'utf8')}`
  const options = { node: who.host, input, ...(who.user === undefined ? {} : { user: who.user }) }
  const { stdout, stderr } = await scene.cluster.run([...job, ...as, '/bin/sh'], options)
  if (stderr !== '') throw new Error(stderr)
  return doneIn(stdout)
}

async function fromTheHost(t: Test, scene: Scene): Promise<void> {
  const { alice, bob } = scene
  const byRoot = await attempts(scene, alice, { host: node })
  for (const name of [
    'list the VM',
    'read the disk',
    'see the domain',
    'signal QEMU',
    'address in filters',
    'address in files',
  ])
    t.ok(byRoot.includes(name), `root can: ${name}`)
  t.same(await attempts(scene, alice, { user: 'bob', host: node }), [], 'bob on the node')
  t.same(await attempts(scene, alice, { user: 'bob', host: 'ctl', slurm: 'job' }), [], "bob's job without a VM")
  t.same(await attempts(scene, alice, { user: 'bob', host: 'ctl' }), [], 'bob on the login host')
  t.same(await attempts(scene, bob, { user: 'bob', host: node }), ['address in vmrm ps'], 'bob and his own VM')
}

async function asQemu(t: Test, scene: Scene): Promise<void> {
  const { cluster, alice, bob, image } = scene
  t.not(alice.uid, bob.uid)
  const own = ['list the VM', 'read the console', 'read the disk', 'signal QEMU', 'write the console']
  for (const name of own)
    t.ok((await attempts(scene, bob, { uid: bob.uid, host: node })).includes(name), `its own: ${name}`)
  t.same(await attempts(scene, bob, { uid: alice.uid, host: node }), [], "another run's")
  for (const path of [image.master, join(cluster.layout.images, 'tiny.qcow2')]) {
    const writes = ['setpriv', `--reuid=${alice.uid}`, '--regid=kvm', '--clear-groups', 'test', '-w', path]
    t.equal((await cluster.run(writes, { node })).exitCode, 1, `${path} cannot be written`)
  }
  const status = (await cluster.run(['cat', `/proc/${alice.pid}/status`], { node })).stdout
  t.match(status, /^CapEff:\t0+$/m)
  t.match(status, /^NoNewPrivs:\t1$/m)
  t.match(status, /^Seccomp:\t2$/m)
  const groupOf = async ({ pid }: Vm) => (await cluster.run(['cat', `/proc/${pid}/cgroup`], { node })).stdout
  t.match(await groupOf(alice), new RegExp(`memory:.*/vmrm/${alice.run}$`, 'm'))
  t.match(await groupOf(bob), new RegExp(`memory:.*/vmrm/${bob.run}$`, 'm'))
}

async function bySocket(t: Test, { cluster, alice, bob }: Scene): Promise<void> {
  const addressOf = (name: string) => cluster.layout.hosts.find((host) => host.name === name)?.address ?? ''
  for (const host of [node, 'ctl']) {
    const facts = [bobUid, addressOf(node), node, addressOf('ctl'), machineUid('slurm'), alice.job].map(String)
    const found = await cluster.run([process.execPath, join(folder, 'neighbour.ts'), ...facts], { node: host })
    t.equal(found.exitCode, 0, found.stderr)
    const { answers, lies, seen, places } = JSON.parse(found.stdout)
    for (const [what, answer] of Object.entries(answers)) t.equal(answer, 'not-permitted', `${what}, from ${host}`)
    for (const [what, answer] of Object.entries(lies))
      t.equal(answer, 'daemon-unreachable', `${what}, from ${host}, in a node's name`)
    t.ok(Object.keys(answers).length >= 15, 'every message was tried')
    for (const jobs of Object.values(seen)) t.same(jobs, [bob.job])
    if (places === undefined) continue
    t.match(places.none, /has no VM for job 4000000/)
    t.equal(places.other, places.none.replace('4000000', String(alice.job)), "another's job is answered like none")
  }
}

async function byCredential(t: Test, { cluster }: Scene): Promise<void> {
  const make = await cluster.run(['munge', '--no-input', '--restrict-uid=slurm'])
  const opened = await cluster.run(['unmunge'], { user: 'bob', input: make.stdout })
  t.match(opened.stdout + opened.stderr, /Unauthorized credential/)
}

async function byGuestRoot(t: Test, { cluster, alice, bob }: Scene): Promise<void> {
  const script = homeOf(cluster, 'alice', 'guest-root.sh')
  copyFileSync(join(folder, 'guest-root.sh'), script)
  await cluster.run(['touch', 'for-all'], { user: 'bob' })
  const hosts = cluster.layout.hosts.map((host) => host.address)
  const start = 'cp /home/alice/guest-root.sh /tmp/ && exec become-root bash /tmp/guest-root.sh "$@"'
  const found = await inVm(
    cluster,
    'alice',
    alice,
    ['bash', '-c', start, 'sh', bob.address, bob.run, ...hosts],
    400_000,
  )
  t.match(found.stdout, new RegExp(`^I am root at ${alice.address.replaceAll('.', '\\.')}$`, 'm'))
  t.match(found.stdout, /^end$/m, found.stderr)
  const allowed = ['own address and MAC', 'own address and MAC again', 'port 2049 of the gateway', 'write own files']
  t.same(doneIn(found.stdout), allowed.sort())
  for (const who of [0, bobUid])
    t.match(found.stdout, `\nSAID to ${who}: vmrm: Slurm's commands work in this VM for the job's user only\n`)
  t.match(found.stdout, '\nSAID to the user: alice\n', 'what the guest calls as its user is called as that user')
  const strange = [
    'find',
    '/home',
    '!',
    '-user',
    'alice',
    '!',
    '-user',
    'bob',
    '!',
    '-user',
    'carol',
    '-newer',
    '/home/bob/for-all',
  ]
  t.same(
    (await cluster.run([...strange, '!', '-path', '/home'])).stdout
      .trim()
      .split('\n')
      .filter((path) => path !== script.slice(cluster.layout.folder.length)),
    [''],
  )
}

/** Of root's own job: who is root in its guest is nobody on the node's folders. */
async function byRootsJob(t: Test, { cluster }: Scene): Promise<void> {
  await cluster.run(['sh', '-c', 'umask 077; echo secret >of-bob'], { user: 'bob' })
  const script = 'id -u; stat -c %u /home/alice; cat /home/bob/of-bob; touch /home/of-root /home/bob/of-root'
  const argv = ['srun', `--nodelist=${node}`, '--mem=500', '--chdir=/', '--vm-image=tiny', 'sh', '-c', script]
  const { stdout, stderr } = await cluster.run(argv, { timeoutMs: bootMs })
  t.equal(stdout, '0\n2001\n', stderr)
  t.equal(stderr.match(/Permission denied/g)?.length, 3, stderr)
  for (const left of ['/home/of-root', '/home/bob/of-root'])
    t.equal((await cluster.run(['test', '-e', left])).exitCode, 1, left)
}

async function byPlugIn(t: Test, { cluster }: Scene): Promise<void> {
  const own = (name: string) => homeOf(cluster, 'bob', name)
  await execa('gcc', ['-shared', '-fPIC', '-o', own('hostile.so'), join(folder, 'hostile-plugin.c')])
  const setUp = `sed '/^PlugStackConfig/d; s#^[Ii]nclude \\([^/]\\)#include /etc/slurm/\\1#' /etc/slurm/slurm.conf >slurm.conf
    echo PlugStackConfig=/home/bob/plugstack.conf >>slurm.conf
    echo required /home/bob/hostile.so >plugstack.conf`
  await cluster.run(['sh', '-c', setUp], { user: 'bob' })
  const values: readonly [Record<string, string>, RegExp][] = [
    [{ IMAGE: '../../../etc/passwd' }, /VMRM_IMAGE has a value that cannot be used/],
    [{ IMAGE: '$(touch /tmp/pwned);`touch /tmp/pwned`' }, /VMRM_IMAGE has a value that cannot be used/],
    [{ IMAGE: 'tiny\nSLURM_JOB_UID=0' }, /VMRM_IMAGE has a value that cannot be used/],
    [{ IMAGE: '' }, /VMRM_IMAGE has a value that cannot be used/],
    [{ IMAGE: 'tiny@../../x' }, /cannot be used/],
    [{ IMAGE: 'nope' }, /there is no image nope/],
    [{ IMAGE: '@90000' }, /VMRM_IMAGE has a value that cannot be used/],
    [{ IMAGE: '@150000' }, /the SPANK environment of the job is too large/],
    [{ IMAGE: 'tiny', PER_NODE: '-1' }, /VMRM_PER_NODE has a value that cannot be used/],
    [{ IMAGE: 'tiny', PER_NODE: '99999999999' }, /needs at least 99999999999 CPUs|cannot be used/],
    [{ IMAGE: 'tiny', SCRIPT: '$(id)' }, /VMRM_SCRIPT has a value that cannot be used/],
  ]
  for (const [value, expected] of values) {
    const variables = Object.entries(value).map(([name, text]) => `HOSTILE_VMRM_${name}=${text}`)
    const argv = ['env', 'SLURM_CONF=/home/bob/slurm.conf', ...variables, 'srun', '--mem=500', 'true']
    const { exitCode, stderr } = await cluster.run(argv, { user: 'bob' })
    const name = JSON.stringify(value).slice(0, 80)
    t.not(exitCode, 0, name)
    t.match(stderr, expected, name)
  }
  for (const host of ['ctl', ...cluster.nodes])
    t.not((await cluster.run(['test', '-e', '/tmp/pwned'], { node: host })).exitCode, 0, `nothing ran on ${host}`)
  t.equal((await cluster.run(['sinfo', '--noheader', '--list-reasons'])).stdout, '', 'no node drains')
}

async function byHavoc(t: Test, { cluster, alice, bob }: Scene): Promise<void> {
  copyFileSync(join(folder, 'guest-havoc.sh'), homeOf(cluster, 'alice', 'guest-havoc.sh'))
  const daemon = (await cluster.run(['pgrep', '--oldest', '--full', 'vmrmd --role node'], { node })).stdout.trim()
  const memoryMib = async () => {
    const status = (await cluster.run(['cat', `/proc/${daemon}/status`], { node })).stdout
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
  }
  const beforeMib = await memoryMib()
  const start = `cp /home/alice/guest-havoc.sh /tmp/
    setsid become-root bash /tmp/guest-havoc.sh </dev/null >/dev/null 2>&1 &
    until [ -e /tmp/away ]; do sleep 0.1; done`
  await inVm(cluster, 'alice', alice, ['bash', '-c', start])
  await until('the flood', () => existsSync(homeOf(cluster, 'alice', 'havoc')), 60_000)
  // As much as a guest writes in hours under TCG.
  const console = `/var/lib/vmrm/runs/${alice.run}/v0/console.log`
  await cluster.run(['sh', '-c', `head -c 3000000 /dev/zero | tr '\\0' x >>${console}`], { node })
  for (let i = 0; i < 3; i += 1) t.equal((await inVm(cluster, 'bob', bob, ['echo', 'fine'])).stdout, 'fine\n')
  await until(
    'a console that was cut',
    async () => Number((await cluster.run(['stat', '-c', '%s', console], { node })).stdout) <= 1_500_000,
    60_000,
  )
  t.ok((await memoryMib()) < beforeMib + 64, 'vmrmd has not grown')
  t.equal((await cluster.run(['pgrep', '--oldest', '--full', 'vmrmd --role node'], { node })).stdout.trim(), daemon)
  await cluster.run(['scancel', String(alice.job)], { user: 'alice' })
  t.equal((await ended(cluster, alice.job, { timeoutMs: 90_000 })).state, 'CANCELLED')
  t.equal((await inVm(cluster, 'bob', bob, ['echo', 'fine'])).stdout, 'fine\n', "bob's VM is as it was")
}

async function byPowerOff(t: Test, { cluster, image, bob }: Scene): Promise<void> {
  const script = 'become-root /sbin/poweroff -f\nsleep 3000'
  const more = [`--nodelist=${node}`, '--mem=500', `--vm-image=${image.name}`]
  const job = await submit(cluster, script, { arguments: more })
  const over = await ended(cluster, job, { timeoutMs: bootMs })
  t.equal(over.state, 'FAILED')
  t.match(over.output, /^vmrm: /m)
  t.equal((await inVm(cluster, 'bob', bob, ['echo', 'fine'])).stdout, 'fine\n', "bob's VM is as it was")
}

t.test('One user and another’s VM, a guest’s root and the rest of the world', async (t) => {
  await withCluster(t, async (cluster) => {
    const image = await makeRootedImage(cluster)
    const tiny = join(cluster.layout.images, 'tiny.qcow2')
    const tinySum = sha256Of(tiny)
    try {
      await withImages(cluster, [image], async () => {
        const [alice, bob] = await Promise.all([startVm(cluster, 'alice', image.name), startVm(cluster, 'bob', 'tiny')])
        const scene: Scene = { cluster, image, alice, bob }
        await t.test('a user cannot see, enter or signal it, nor learn its address', (t) => fromTheHost(t, scene))
        await t.test('a user cannot speak for a node, a hook or the controller, nor take a task’s place', (t) =>
          bySocket(t, scene),
        )
        await t.test('a user cannot open what is sealed for a daemon', (t) => byCredential(t, scene))
        await t.test('a QEMU is nobody, and cannot read another’s files', (t) => asQemu(t, scene))
        await t.test('a hostile SPANK environment is refused in words', (t) => byPlugIn(t, scene))
        await t.test('a guest’s root reaches its own files and nothing else', (t) => byGuestRoot(t, scene))
        await t.test('root in the guest of a job of root’s is nobody on the node’s files', (t) => byRootsJob(t, scene))
        await t.test('a guest that floods every channel harms itself', (t) => byHavoc(t, scene))
        await t.test('a guest that is switched off ends its own job', (t) => byPowerOff(t, scene))
        await cluster.run(['scancel', String(bob.job)], { user: 'bob' })
        t.equal((await ended(cluster, bob.job, { timeoutMs: 90_000, user: 'bob' })).state, 'CANCELLED')
      })
    } finally {
      await cluster.run(['scancel', '--user=alice'])
      await cluster.run(['scancel', '--user=bob'])
    }
    t.equal(sha256Of(image.master), image.sha256, 'its master is as it was')
    t.equal(sha256Of(tiny), tinySum, 'and so is tiny')
    rmSync(join(cluster.layout.folder, 'rooted'), { recursive: true, force: true })
  })
})
