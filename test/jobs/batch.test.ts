// A job of 32 VMs from one master, 16 on each of two nodes: all are clones, every one is somebody of its own, and they know and
// reach each other. What the VMs say of themselves is compared with each other and with what the hosts say of them.
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Jobs, masterStates, withJobs } from '../support/job-cluster.ts'
import { makeRootedImage } from '../support/rooted-image.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'

t.setTimeout(900_000)

const nodes = ['n1', 'n2'] as const
const perNode = 16
const total = perNode * nodes.length
/** Two boots and 32 clones of an emulated machine on a loaded one. */
const boundMs = 600_000
/**
 * An emulated guest that has waited 5 s for a CPU has missed a turn of its clock's counter, so on a machine that is very busy it
 * is behind until it is told the time again, which is every 20 s.
 */
const clockSeconds = 40
/** How often the first VM looks whether its clock is right once it has the CPUs nearly for itself: a look is a second and more. */
const looks = 150
/** By so many seconds a boot of the image sets its clock back, and with it a template's; and later the first VM's root its own. */
const setBackSeconds = 3600
/** 112 MiB a VM and its overhead of 128 MiB. */
const memoryMib = perNode * 240

/**
 * What a VM says of itself, a line for each fact, and how many of the job's VMs it reaches: one that is there refuses a
 * connection to a port where nobody listens. Bash's own means where they do, since a process costs an emulated machine much.
 * Its clock is between the file server's, which is the host's, if that lies between two looks at it; the first VM waits for that.
 */
const whoAmI = `#!/bin/bash
say() { printf '%s %s\\n' "$1" "\${*:2}"; }
{
  say began "$EPOCHSECONDS"
  [ "$SLURM_PROCID" = 0 ] && wrong=$((EPOCHSECONDS - ${setBackSeconds})) && become-root date -s "@$wrong" >/tmp/date
  name=$(</etc/hostname)
  say hostname "$name"
  say kernel-name "$(</proc/sys/kernel/hostname)"
  say node "$SLURMD_NODENAME"
  say machine-id "$(</etc/machine-id)"
  say boot-id "$(</proc/sys/kernel/random/boot_id)"
  say dmi-uuid "$(become-root cat /sys/class/dmi/id/product_uuid)"
  read -r _ certificate _ </run/vmrm/ssh/host_ed25519_key-cert.pub
  say host-certificate "$certificate"
  for device in /sys/class/net/*; do [ "\${device##*/}" = lo ] || say mac "$(<"$device/address")"; done
  while read -r address named _; do [ "$named" = "$name" ] && say address "$address"; done </etc/hosts
  say getrandom $SRANDOM $SRANDOM $SRANDOM $SRANDOM
  say urandom $(head -c 16 /dev/urandom | od -An -tx1)
  mapfile -t peers <"$VMRM_MACHINEFILE"
  # Again where somebody on a busy machine was too slow to say which card has that address.
  missing=("\${peers[@]%%:*}")
  for round in {1..20}; do
    for peer in "\${missing[@]}"; do { exec 3<>"/dev/tcp/$peer/9"; } 2>&1; done >/tmp/tried
    mapfile -t missing < <(grep '/dev/tcp/' /tmp/tried | grep -v refused | grep -o 'tcp/[^/]*' | cut -d/ -f2)
    [ \${#missing[@]} = 0 ] && break
  done
  say reached $((\${#peers[@]} - \${#missing[@]})) of "\${#peers[@]}"
  while read -r address _ _ mac _; do [ "$address" = IP ] || say neighbour "$address=$mac"; done </proc/net/arp
  while [ -n "$wrong" ] && ((EPOCHSECONDS < wrong + ${setBackSeconds / 2})); do sleep 1; done
  # A guest that has waited too long for a CPU opens its files with the server anew, which takes a while.
  for round in {1..60}; do
    before=$EPOCHSECONDS; : >"$HOME/clock-$name" && server=$(stat -c %Y "$HOME/clock-$name") && break
    sleep 1
  done
  after=$EPOCHSECONDS
  say clock $((server - before)) $((after - server))
  say end
} 2>/dev/null
`

/**
 * The batch script is in the first VM, whose clock was set back. When all tasks have ended nothing starves it, and its clock comes
 * to less than 2 s of the file server's: that lies between two looks at it that are in the same second, or in the next.
 *
 * The program travels with its task, away from the home folder: a guest that has waited longer for a CPU than its lease of the
 * file server lasts loses what it has open there.
 */
const script = `#!/bin/bash
program=$(cat <<'END'
${whoAmI}END
)
srun --chdir=/tmp --output=/home/alice/who-%t bash -c "$program"
result=$?
for ((look = 1; look <= ${looks}; look++)); do
  file="$HOME/look-$look" && before=$EPOCHSECONDS && : >"$file" && server=$(stat -c %Y "$file") && after=$EPOCHSECONDS
  rm -f "$file"
  ((server > 0 && before <= server && server <= after && after <= before + 1)) && break
  server=0
  sleep 1
done
echo "clock $(hostname) $((server > 0)) $look"
echo "done $result"
exec sleep 1000
`

type Said = ReadonlyMap<string, string>

/** The public key in a certificate: behind its type and a nonce, each with its length before it. All else in it differs anyway. */
function hostKeyOf(certificate: string): string {
  const bytes = Buffer.from(certificate, 'base64')
  const fieldAt = (start: number) => bytes.subarray(start + 4, start + 4 + bytes.readUInt32BE(start))
  const nonceAt = 4 + fieldAt(0).length
  return fieldAt(nonceAt + 4 + fieldAt(nonceAt).length).toString('hex')
}

function parse(text: string): { facts: Said; neighbours: readonly string[] } {
  const pairs = text
    .split('\n')
    .map((line) => [line.split(' ', 1)[0] ?? '', line.slice(line.indexOf(' ') + 1)] as const)
  const facts = new Map(pairs.filter(([name]) => name !== 'neighbour'))
  const certificate = facts.get('host-certificate') ?? ''
  return {
    facts: certificate === '' ? facts : facts.set('host-key', hostKeyOf(certificate)),
    neighbours: pairs.filter(([name]) => name === 'neighbour').map(([, said]) => said),
  }
}

/** `UUID NAME` of every domain of a run. */
async function domains(jobs: Jobs, id: number): Promise<readonly (readonly string[])[]> {
  const listed = await Promise.all(
    nodes.map((node) => jobs.cluster.run(['virsh', '--quiet', 'list', '--uuid', '--name'], { node })),
  )
  const lines = listed.flatMap(({ stdout }) => stdout.split('\n')).map((line) => line.trim().split(/\s+/))
  return lines.filter(([, name]) => name?.startsWith(`j${id}r0v`))
}

const logOf = (jobs: Jobs, node: string): string =>
  readFileSync(join(jobs.cluster.layout.folder, 'log', node, 'vmrmd.log'), 'utf8')

/** Facts of which every VM has one of its own. */
const unique = ['hostname', 'machine-id', 'boot-id', 'dmi-uuid', 'host-key', 'mac', 'address', 'getrandom', 'urandom']

function allDifferent(t: Test, vms: readonly Said[]): void {
  for (const fact of unique) {
    const values = vms.map((vm) => vm.get(fact) ?? '')
    t.notOk(values.includes(''), `each says its ${fact}`)
    t.equal(new Set(values).size, total, `${fact}: ${[...new Set(values)].slice(0, 3).join(' ')} ...`)
  }
}

/** A clone that went on with its template's clock would be an hour behind. */
function beganInTime(t: Test, vms: readonly Said[], [first, last]: readonly [number, number]): void {
  for (const vm of vms) {
    const began = Number(vm.get('began')) * 1000
    const isRight = began >= first - clockSeconds * 1000 && began <= last + 1000
    t.ok(isRight, `${vm.get('hostname')}: its clock was right when its task began (${began} in ${first}..${last})`)
  }
}

function allThere(t: Test, said: readonly { facts: Said; neighbours: readonly string[] }[]): void {
  const macOf = new Map(said.map(({ facts }) => [facts.get('address'), facts.get('mac')]))
  for (const { facts, neighbours } of said) {
    const name = facts.get('hostname')
    t.equal(facts.get('kernel-name'), name, `${name}: its kernel says the same`)
    t.equal(facts.get('reached'), `${total} of ${total}`, `${name} reaches every one by name`)
    const others = neighbours.filter((each) => macOf.has(each.split('=')[0]))
    t.equal(others.length, total - 1, `${name} has met all others: ${neighbours.join(' ')}`)
    for (const each of others) {
      const [address, mac] = each.split('=')
      if (macOf.get(address) !== mac) t.fail(`${name} found ${mac} at ${address}`)
    }
    const clock = (facts.get('clock') ?? 'none').split(' ').map(Number)
    t.ok(
      clock.every((seconds) => seconds >= -clockSeconds),
      `${name}: its clock is right (${clock.join(' and ')} s)`,
    )
  }
}

async function all32(t: Test, jobs: Jobs, image: string): Promise<void> {
  const size = [`-N${nodes.length}`, `--ntasks-per-node=${perNode}`, `--mem=${memoryMib}`, `--vm-per-node=${perNode}`]
  const submitted = Date.now()
  const id = await jobs.submit(script, { arguments: [`--vm-image=${image}`, ...size] })
  // Or the reason why it was refused.
  await until(`job ${id}`, () => /^done|^vmrm: /m.test(jobs.output(id)), boundMs)
  t.match(jobs.output(id), /^done 0$/m)
  const files = Array.from({ length: total }, (_, task) => readFileSync(jobs.home(`who-${task}`), 'utf8'))
  const said = files.map(parse)
  const vms = said.map(({ facts }) => facts)
  t.ok(
    vms.every((vm) => vm.has('end')),
    files.join('\n'),
  )
  allDifferent(t, vms)
  beganInTime(t, vms, [submitted, Date.now()])
  for (const node of nodes) t.equal(vms.filter((vm) => vm.get('node') === node).length, perNode, `VMs of ${node}`)
  allThere(t, said)
  const clock = /^clock (\S+) (\d) (\d+)$/m.exec(jobs.output(id)) ?? []
  t.equal(clock[1], vms[0]?.get('hostname'), 'the batch script is in the first VM')
  t.equal(clock[2], '1', `its clock came to be right to the second (${clock[3]} looks)`)

  const listed = await domains(jobs, id)
  t.equal(new Set(listed.map(([, name]) => name)).size, total, 'each has a name of its own')
  t.same(listed.map(([uuid]) => uuid).sort(), vms.map((vm) => vm.get('dmi-uuid')).sort(), 'uuids, without and within')
  for (const node of nodes) {
    const log = logOf(jobs, node)
    const clones = log.match(new RegExp(`vm\\.ready vm=j${id}r0v\\d+ how=clone `, 'g')) ?? []
    t.equal(clones.length, perNode, `${node}: all are clones`)
    t.notMatch(log, /clone\.failed|run\.boots|template\.failed|template\.distrusted/, `${node}: none fell back`)
  }

  await jobs.alice(['scancel', String(id)])
  t.match((await jobs.ended(id, boundMs)).fields, { JobState: 'CANCELLED' })
  t.same(await domains(jobs, id), [], 'none is left')
}

t.test('32 VMs of one job are all different, and all there for each other', async (t) => {
  const work = async (jobs: Jobs): Promise<void> => {
    // A guest's root alone can read the uuid that its firmware tells.
    const setBack = `date -s "@$(($(date +%s) - ${setBackSeconds}))"`
    const rooted = await makeRootedImage(jobs.cluster, { atBoot: setBack })
    // However busy the machine is: nothing is about speed here.
    const image = {
      ...rooted,
      changes: [...(rooted.changes ?? []), [/timeout-seconds="\d+"/, 'timeout-seconds="200"'] as const],
    }
    try {
      await withImages(jobs.cluster, [image], async () => {
        const folder = join(jobs.cluster.layout.folder, 'images.d')
        const before = masterStates(folder)
        await all32(t, jobs, image.name)
        t.ok(Object.hasOwn(before, image.master))
        t.strictSame(masterStates(folder), before, 'their master was not written to')
      })
    } finally {
      await jobs.cluster.run(['vmrm', 'image', 'forget', image.name])
      rmSync(image.master, { force: true })
    }
  }
  await withJobs(t, 'batch', work, [`--cpus=${perNode}`])
})
