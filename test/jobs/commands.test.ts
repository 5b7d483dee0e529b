// Slurm's commands inside a VM where a bare node has nothing to compare with: files that only a VM has, who may call, a restart of vmrmd, and ends.
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { withVmrmdXml } from '../support/daemon-faults.ts'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'

t.setTimeout(600_000)

const one = 'srun -n1 -N1 -w n1 --mem=50 --overlap'
/** Found in a command line on the host and nowhere else. */
const marker = String(100_000 + process.pid)

/** What sbcast does and ends with must not depend on where it is called; in a VM it counts as steps of its own. */
const copies = `to=/tmp/sbcast.$SLURM_JOB_ID; printf 'some bytes\\n' >/tmp/source.$SLURM_JOB_ID; cd /tmp; source=source.$SLURM_JOB_ID; chmod 640 $source
for o in '' -f '-p -f' '-f --compress' '-f --size=1m'; do sbcast $o $source $to; echo "code $? of $o"; srun -D /tmp -N2 -n2 sh -c "stat -c '%a %s %U' $to; cat $to"; done
sbcast $source $to; echo "exists $?"; sbcast nosuch /tmp/x; echo "nosuch $?"; sbcast $source /no/such/folder; echo "folder $?"; sbcast $source /root/x; echo "denied $?"
srun -D /tmp -N2 -n2 rm $to; rm $source
`

const script = `#!/bin/bash
title() { echo; echo "[$1]"; }
until_there() { until [ -e ~/"$1" ]; do sleep 0.1; done; }
cd /tmp && mkdir own && cd own
title copies; (${copies}) 2>&1
title here; srun -n1 -N1 pwd
title sbcast; echo bytes >source; chmod 640 source; sbcast source /tmp/own.copy; echo $?; srun -D /tmp -N2 -n2 sh -c 'echo $(cat /tmp/own.copy) $(stat -c %a /tmp/own.copy)'
title relative; (cd /tmp && sbcast own/source relative) 2>&1; echo $?; ${one} cat /tmp/relative
title exists; sbcast source /tmp/own.copy >/dev/null 2>&1; echo $?
title bcast; printf '#!/bin/sh\\necho copied $0\\n' >program; chmod +x program; srun -D /tmp -N2 -n2 --bcast=/tmp/copied $PWD/program
title nobody; ssh n2 squeue 2>&1; echo $?
title restart; cd /tmp; srun -N2 -n2 sh -c 'touch ~/up.$SLURM_PROCID; until grep -q restarted ~/gate; do sleep 0.1; done; echo went on; exit 4' 2>/dev/null; echo $?
title outer
${one} sh -c '${one} sh -c "touch ~/inner; exec sleep ${marker}"' 2>/dev/null & outer=$!
until_there inner
until grep -q seen ~/gate; do sleep 0.1; done
step=$(squeue -h -s -j $SLURM_JOB_ID -o %i | grep -E '[.][0-9]+$' | sort -t. -k2n | tail -n 2 | head -n 1)
scancel $step; wait $outer; echo $?; touch ~/ended
until grep -q looked ~/gate; do sleep 0.1; done
`

function partsOf(output: string): Record<string, string> {
  const parts = output.split(/^\[/m).map((part): [string, string] => {
    const [title = '', ...lines] = part.split('\n')
    return [title.replace(']', ''), lines.join('\n').trim()]
  })
  return Object.fromEntries(parts)
}

/** srun of the inner step, on the host. */
async function innerSruns(jobs: Jobs): Promise<string> {
  const found = await jobs.cluster.run(['pgrep', '--full', `[s]run.*${marker}`], { node: 'n1' })
  return found.stdout.trim()
}

/** What /proc says of where the two nested sruns run on the host. */
async function groupsOfSruns(jobs: Jobs): Promise<Record<string, string>> {
  const script = `for p in $(pgrep -f '[s]run.*${marker}'); do tr '\\0\\n' '  ' </proc/$p/cmdline; tr '\\n' ' ' </proc/$p/cgroup; echo; done`
  const { stdout } = await jobs.cluster.run(['sh', '-c', script], { node: 'n1' })
  const ofSrun = stdout.split('\n').filter((line) => /^\S*srun /.test(line))
  return Object.fromEntries(ofSrun.map((line) => [/srun .*srun /.test(line) ? 'outer' : 'inner', line]))
}

async function inOneJob(t: Test, jobs: Jobs): Promise<void> {
  // Read anew at each open, which the absence of a file is not on NFS.
  await jobs.alice(['touch', 'gate'])
  const shape = ['-N2', '--ntasks-per-node=2', '--mem=900']
  const plain = await jobs.run(`#!/bin/bash\n${copies}`, { arguments: shape })
  const id = await jobs.submit(script, { arguments: ['--vm-image=tiny', ...shape] })
  const there = (name: string) => until(name, () => existsSync(jobs.home(name)), 180_000)
  await Promise.all([there('up.0'), there('up.1')])
  for (const node of ['n1', 'n2']) await jobs.cluster.daemon('restart', node, 'vmrmd')
  appendFileSync(jobs.home('gate'), 'restarted\n')
  await there('inner')
  const groups = await groupsOfSruns(jobs)
  t.same(Object.keys(groups).sort(), ['inner', 'outer'], 'both run on the host')
  t.match(groups.outer, new RegExp(`/job_${id}/step_batch\\b`), 'in the step of the script that called it')
  t.match(groups.inner, new RegExp(`/job_${id}/step_\\d+\\b`), 'and one called in a step in that')
  appendFileSync(jobs.home('gate'), 'seen\n')
  await there('ended')
  await until('the end of the inner srun on the host', async () => (await innerSruns(jobs)) === '')
  appendFileSync(jobs.home('gate'), 'looked\n')
  const job = await jobs.ended(id)
  const parts = partsOf(job.output)
  t.equal(job.fields.JobState, 'COMPLETED', job.output)
  t.equal(parts.here, '/tmp/own', 'a folder that only the VM has')
  const sorted = (text: string | undefined) => text?.trim().split('\n').sort()
  t.match(plain.output, /exists 17\n/)
  t.same(sorted(parts.copies), sorted(plain.output), 'copies, and where none can be, as on bare nodes')
  t.equal(parts.sbcast, '0\nbytes 640\nbytes 640')
  t.equal(parts.relative, '0\nbytes')
  t.not(parts.exists, '0', 'without --force nothing is replaced')
  t.equal(parts.bcast, 'copied /tmp/copied\ncopied /tmp/copied')
  t.equal(parts.nobody, "vmrm: Slurm's commands work in a VM while a task of its job runs there; none does\n1")
  t.equal(parts.restart, 'went on\nwent on\n4', 'a restart of vmrmd on both nodes is not noticed')
  t.equal(parts.outer, '137')
}

/** An image that may not have Slurm's commands, and nodes that leave all but two of them out. */
async function testRefusals(t: Test, jobs: Jobs): Promise<void> {
  // The last is the agent under a command's name, which a user of the guest can make for himself.
  const call = `ln -s /usr/sbin/vmrm-agent /tmp/sinfo
for c in squeue sinfo strigger /tmp/sinfo; do echo "[$c]"; $c --version 2>&1 || echo "ends with $?"; done`
  const play = async (image: string) => {
    const argv = ['srun', '-n1', '-w', 'n2', '--mem=400', `--vm-image=${image}`, 'sh', '-c', call]
    const found = await jobs.alice(argv)
    t.equal(found.exitCode, 0, found.stderr)
    return partsOf(found.stdout)
  }
  const absent = /^(.*not found\n)?ends with 127$/
  const untrusted = { name: 'untrusted', changes: [['relay="true"', 'relay="false"']] } as const
  await withImages(jobs.cluster, [untrusted], async () => {
    const says = await play('untrusted')
    t.match(says, { squeue: absent, sinfo: absent, strigger: absent, '/tmp/sinfo': /^vmrm: .*\nends with 1$/ })
  })
  await withVmrmdXml(jobs.cluster, '<relay commands="squeue scancel"/>', async () => {
    const says = await play('tiny')
    t.match(says, { squeue: /^slurm\S* \d/, sinfo: absent, strigger: absent })
    t.equal(
      says['/tmp/sinfo'],
      'vmrm: "sinfo" is none of the commands that are run for a guest on this node\nends with 1',
    )
  })
}

/** Slurm (22.05) takes triggers from SlurmUser alone. */
async function testTrigger(t: Test, jobs: Jobs): Promise<void> {
  const fired = join(jobs.cluster.layout.folder, 'trigger')
  mkdirSync(fired, { recursive: true })
  chmodSync(fired, 0o777)
  writeFileSync(
    join(fired, 'program'),
    `#!/bin/sh\necho "$(id -un) $*" >${fired}/said.new && mv ${fired}/said.new ${fired}/said\n`,
  )
  chmodSync(join(fired, 'program'), 0o755)
  // Where the cluster lets him begin.
  await jobs.cluster.run(['install', '-d', '-o', 'slurm', '/home/slurm'])
  const set = `hostname; strigger --set --jobid=$SLURM_JOB_ID --fini --program=${fired}/program; echo "set: $?"`
  const argv = ['srun', '-n1', '--mem=400', '--chdir=/tmp', '--vm-image=tiny', 'sh', '-c', set]
  const found = await jobs.cluster.run(argv, { user: 'slurm', timeoutMs: 180_000 })
  t.match(found, { exitCode: 0, stdout: /^tiny-\d+\nset: 0\n$/ }, found.stderr)
  await until('the trigger has fired', () => existsSync(join(fired, 'said')), 120_000)
  t.match(readFileSync(join(fired, 'said'), 'utf8'), /^slurm \d+\n$/, 'outside the VM, with the number of the job')
}

t.test("Slurm's commands in a VM", (t) =>
  withJobs(t, 'commands', async (jobs) => {
    await inOneJob(t, jobs)
    await t.test('a trigger set in a VM fires', (t) => testTrigger(t, jobs))
    await t.test('what may not be called there is not', (t) => testRefusals(t, jobs))
  }),
)
