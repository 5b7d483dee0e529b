// The two jobs of the demo, on the cluster that VMRM_CLUSTER_DIR names: runs them, shows what they said and how long each
// phase took, and fails where they did not run in VMs. It submits as a user would and changes nothing else.
import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { type BatchResult, type Cluster, type Finished, openCluster } from './cluster.ts'
import { readPhases } from './phases.ts'

const user = 'alice'
const timeoutMs = 240_000
/** On purpose, to show that a job's exit code comes through. */
const serialExitCode = 3

const serialScript = `#!/bin/bash
#SBATCH --vm-image=tiny
echo "script:  $0 $*"
echo "kernel:  $(uname -r)"
echo "host:    $(hostname)"
echo "user:    $(id -un) ($(id -u)), in $PWD"
echo "CPUs:    $(nproc), memory: $(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
exit ${serialExitCode}
`
const taskProgram = `
echo "kernel $(uname -r), host $(hostname), task $SLURM_PROCID of $SLURM_NTASKS"
[ "$SLURM_PROCID" = 0 ] && grep -E ' n[12]( |$)' /etc/hosts
exit 0
`

const say = (line: string): void => {
  process.stdout.write(`${new Date().toTimeString().slice(0, 8)} demo: ${line}\n`)
}

function show(what: Pick<Finished, 'stdout' | 'stderr'>): void {
  const lines = `${what.stdout}${what.stderr}`.trimEnd().split('\n')
  process.stdout.write(`${lines.map((line) => `    | ${line}`).join('\n')}\n`)
}

/** What vmrmd of each node wrote of the job's VMs. */
function showPhases(cluster: Cluster, job: number, wholeMs: number): void {
  for (const node of cluster.nodes) {
    for (const vm of readPhases(join(cluster.layout.folder, 'log', node, 'vmrmd.log'))) {
      if (!vm.vm.startsWith(`j${job}r`)) continue
      const parts = `QEMU created ${vm.createMs} ms, kernel and agent up ${vm.bootMs} ms, identity and home ${vm.identityMs} ms`
      say(`  VM ${vm.vm} on ${node}: ${parts}; the node's Prolog ${vm.preparedMs} ms`)
    }
  }
  say(`  from submission to the end: ${Math.round(wholeMs)} ms`)
}

/** A claim of the demo; a false one ends it with exit code 1. */
function check(holds: boolean, claim: string): void {
  if (!holds) process.exitCode = 1
  say(`  ${holds ? 'yes' : 'NO'}: ${claim}`)
}

function jobIdIn(log: string): number {
  // srun does not say its job's number where it does not have to wait.
  return Math.max(0, ...[...log.matchAll(/ run\.planned .*run=j(\d+)r/g)].map((match) => Number(match[1])))
}

async function serialJob(cluster: Cluster): Promise<void> {
  say('a serial job: sbatch --wait job.sh, with "#SBATCH --vm-image=tiny" in job.sh')
  const beganMs = performance.now()
  const result: BatchResult = await cluster.sbatchWait(serialScript, { user, timeoutMs })
  show({ stdout: result.output, stderr: result.stderr })
  check(
    result.exitCode === serialExitCode,
    `its exit code is ${serialExitCode}, as its script says: ${result.exitCode}`,
  )
  check(/host: +tiny-\d+/.test(result.output), `it ran in a VM, and not on n1 (kernel ${release()})`)
  showPhases(cluster, result.jobId, performance.now() - beganMs)
}

async function twoNodeJob(cluster: Cluster): Promise<void> {
  say('a two-node job: srun --nodes=2 --vm-image=tiny')
  const beganMs = performance.now()
  const argv = ['srun', '--nodes=2', '--label', '--vm-image=tiny', 'bash', '-c', taskProgram]
  const result = await cluster.run(argv, { user, timeoutMs })
  show(result)
  const hosts = new Set([...result.stdout.matchAll(/host (tiny-\d+)/g)].map((match) => match[1]))
  check(result.exitCode === 0, `its exit code is 0: ${result.exitCode}`)
  check(hosts.size === 2, `its two tasks ran in two VMs: ${[...hosts].join(', ')}`)
  const log = readFileSync(join(cluster.layout.folder, 'log/ctl/vmrmd.log'), 'utf8')
  showPhases(cluster, jobIdIn(log), performance.now() - beganMs)
}

const cluster = openCluster()
await cluster.waitUntilIdle(60_000)
const plain = await cluster.run(['srun', 'sh', '-c', 'echo "kernel $(uname -r), host $(hostname)"'], {
  user,
  timeoutMs,
})
say('a job without a VM, for comparison: srun')
show(plain)
check(plain.exitCode === 0, `its exit code is 0: ${plain.exitCode}`)
await serialJob(cluster)
await twoNodeJob(cluster)
await cluster.waitUntilIdle(60_000)
const left = await cluster.run(['virsh', '--quiet', 'list', '--all', '--name'], { node: 'n1' })
check(left.stdout.trim() === '', 'no VM is left on n1')
