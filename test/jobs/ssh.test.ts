// Names, host files and ssh between the VMs of a job, and a user whom only a directory knows. One job for each.
import t, { type Test } from 'tap'
import { withDirectoryUser } from '../support/directory-user.ts'
import { type Jobs, withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

/** Each part begins with its title in brackets. */
const script = `#!/bin/bash
title() { echo; echo "[$1]"; }
readarray -t vms < <(cut -d: -f1 "$VMRM_MACHINEFILE")
title slurm; echo "$SLURM_TASKS_PER_NODE"
title hostfile; cat "$VMRM_HOSTFILE"
title machinefile; cat "$VMRM_MACHINEFILE"
title self; hostname
title names; getent hosts n1 n2 | awk '{ print $2 }'
title reverse; getent hosts "$(getent hosts "\${vms[3]}" | awk '{ print $1 }')" | awk '{ print $2 }'
title ssh; for name in n1 n2 "\${vms[1]}"; do ssh "$name" 'echo "$(hostname) $(id -un) $PWD"'; done
title onward; ssh "\${vms[3]}" ssh n1 hostname
title variables; ssh n2 env | grep -c ^SLURM_
title certificates; { cat /run/vmrm/ssh/*-cert.pub; ssh n2 cat /run/vmrm/ssh/*-cert.pub; } | sort -u | wc -l
title copy; echo over >/tmp/x; scp -q /tmp/x n2:/tmp/x && ssh n2 cat /tmp/x
(umask 077; cat /run/vmrm/ssh/id_ed25519 >~/key-of-another)
title home; ls -A ~/.ssh
exit 0
`

/** In another job's VM: the sshd there, asked with its own key and with the other job's. */
const stranger = `login() { ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectionAttempts=120 -o LogLevel=ERROR -i "$1" localhost hostname 2>&1; echo "ends with $?"; }
hostname; login /run/vmrm/ssh/id_ed25519; login ~/key-of-another; rm ~/key-of-another`

function partsOf(output: string): Record<string, string> {
  return Object.fromEntries(
    output.split(/^\[/m).map((part) => {
      const [title = '', ...lines] = part.split('\n')
      return [title.replace(']', ''), lines.join('\n').trim()]
    }),
  )
}

async function betweenVms(t: Test, jobs: Jobs): Promise<void> {
  const size = ['-N2', '--ntasks-per-node=3', '--mem=900', '--vm-per-node=2']
  const job = await jobs.run(script, { arguments: ['--vm-image=tiny', ...size] })
  const parts = partsOf(job.output)
  const vms = (parts.machinefile ?? '').split('\n').map((line) => line.split(':')[0] ?? '')
  t.equal(new Set(vms).size, 4, job.output)
  t.equal(parts.slurm, '3(x2)')
  t.same(
    parts.hostfile?.split('\n'),
    [2, 1, 2, 1].map((slots, at) => `${vms[at]} slots=${slots}`),
    "three of Slurm's tasks a node are two in its first VM and one in its second",
  )
  t.same(
    parts.machinefile?.split('\n'),
    [2, 1, 2, 1].map((slots, at) => `${vms[at]}:${slots}`),
  )
  t.equal(parts.self, vms[0], 'the script runs in the first of them')
  t.same(parts.names?.split('\n'), [vms[0], vms[2]], "a node's name leads to its first VM")
  t.equal(parts.reverse, vms[3])
  t.same(
    parts.ssh?.split('\n'),
    [vms[0], vms[2], vms[1]].map((vm) => `${vm} alice /home/alice`),
    'by name of node or VM, without a question or a warning',
  )
  t.equal(parts.onward, vms[0], 'from another VM too')
  t.equal(parts.variables, '0', "as on a node: a login knows nothing of Slurm's variables")
  t.equal(parts.certificates, '2', 'each VM has a host key of its own')
  t.equal(parts.copy, 'over')
  t.match(parts.home, /No such file/, "nothing was put into the user's home")
}

async function ofStranger(t: Test, jobs: Jobs): Promise<void> {
  const found = await jobs.alice(['srun', '--quiet', '--mem=300', '--vm-image=tiny', 'bash', '-c', stranger])
  const [vm = '', ...said] = found.stdout.trim().split('\n')
  t.match(vm, /^tiny-\d{4}$/, found.stderr)
  t.same(said.slice(0, 2), [vm, 'ends with 0'], "the job's own key opens it")
  t.match(said[2], /Permission denied \(publickey/, "another's of the same user does not")
  t.same(said.slice(3), ['ends with 255'])
}

const eve = {
  name: 'Eve.Doe@corp.example',
  uid: 3_000_000_001,
  gid: 3_000_000_001,
  groups: { 'Eve.Doe@corp.example': 3_000_000_001, 'domain users': 3_000_000_002 },
} as const

/** Runs a command as eve after `newgrp "domain users"`. */
const asEve = (jobs: Jobs, ...argv: string[]) => {
  const identity = ['--reuid', eve.name, '--regid', String(eve.groups['domain users']), '--init-groups']
  const environment = ['-C', `/home/${eve.name}`, `HOME=/home/${eve.name}`, `USER=${eve.name}`]
  const login = ['/usr/bin/setpriv', ...identity, '--', '/usr/bin/env', ...environment]
  return jobs.cluster.run([...login, ...argv], { timeoutMs: 180_000 })
}

async function ofDirectory(t: Test, jobs: Jobs): Promise<void> {
  const { cluster } = jobs
  await withDirectoryUser(cluster, eve, async () => {
    const who = 'id; echo "$HOME $USER $(stat -c %u ~)"; file=$(mktemp ~/new.XXXXXX); stat -c %u,%g "$file"'
    const there = `${who}; if [ $SLURM_PROCID = 0 ]; then ssh n2 id; fi`
    const plain = await asEve(jobs, 'srun', 'sh', '-c', who)
    t.equal(plain.exitCode, 0, plain.stderr)
    t.match(plain.stdout, /uid=3000000001\(Eve\.Doe@corp\.example\) gid=3000000002\(domain users\)/)
    const found = await asEve(jobs, 'srun', '-N2', '--mem=400', '--vm-image=tiny', 'sh', '-c', there)
    t.equal(found.exitCode, 0, found.stderr)
    const [id = ''] = plain.stdout.split('\n')
    t.same(
      found.stdout.split('\n').sort(),
      [plain.stdout, plain.stdout, `${id}\n`].join('').split('\n').sort(),
      'each VM says the same as a node, and so does one that is reached by ssh',
    )
  })
}

t.test('ssh', (t) =>
  withJobs(t, 'ssh', async (jobs) => {
    await t.test('the VMs of a job know each other by name and by key', (t) => betweenVms(t, jobs))
    await t.test('the key of one job does not open a VM of another', (t) => ofStranger(t, jobs))
    await t.test('a user and groups that only a directory knows exist in the VMs', (t) => ofDirectory(t, jobs))
  }),
)
