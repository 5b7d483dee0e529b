// Stands in for Slurm's commands in a simulation: executables that print, in Slurm 22.05's own form, what they were told.
// They own no state but files beside them, and never say anything of a job that was not put there.
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface SimulatedJob {
  readonly job: number
  /** Host list of its nodes, all with the same CPUs and memory. */
  readonly nodes: string
  readonly nodeCount: number
  readonly cpusPerNode: number
  readonly memoryMibPerNode: number
}

export interface SlurmStandIn {
  /** For vmrmd.xml's slurm/@commands. */
  readonly folder: string
  start(job: SimulatedJob): void
  end(job: number): void
}

const scripts = {
  scontrol: `[ "$1 $2 $3" = "--details show job" ] && exec cat "$here/$4.job"\n# update and requeue change nothing that is asked for later\nexit 0`,
  squeue: `for each in "$here"/*.job; do
  [ -e "$each" ] || continue; each=\${each##*/}; job=\${each%.job}
  case "$*" in *admin_comment*) printf '%-16s(null)\\n' "$job";; *%i*) echo "$job|$job";; *) echo "$job RUNNING";; esac
done`,
  sinfo: `case "$*" in *%N*) exit 0;; esac\necho "none|idle"`,
}

export function createSlurmStandIn(folder: string): SlurmStandIn {
  mkdirSync(folder, { recursive: true })
  for (const [name, body] of Object.entries(scripts)) {
    const path = join(folder, name)
    writeFileSync(path, `#!/bin/sh\nhere=\${0%/*}\n${body}\n`)
    chmodSync(path, 0o755)
  }
  const pathOf = (job: number) => join(folder, `${job}.job`)
  return {
    folder,
    start: (job) => writeFileSync(pathOf(job.job), render(job)),
    end: (job) => rmSync(pathOf(job), { force: true }),
  }
}

/** As `scontrol --details show job` prints it, of the lines that count. */
function render({ job, nodes, nodeCount, cpusPerNode, memoryMibPerNode }: SimulatedJob): string {
  const cpus = nodeCount * cpusPerNode
  return [
    `JobId=${job} JobName=simulated`,
    '   UserId=root(0) GroupId=root(0) MCS_label=N/A',
    '   JobState=CONFIGURING Reason=Prolog Dependency=(null)',
    `   NodeList=${nodes}`,
    `   NumNodes=${nodeCount} NumCPUs=${cpus} NumTasks=${nodeCount} CPUs/Task=1 ReqB:S:C:T=0:0:*:*`,
    '   Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*',
    '   JOB_GRES=(null)',
    `     Nodes=${nodes} CPU_IDs=0-${cpusPerNode - 1} Mem=${memoryMibPerNode} GRES=`,
    '',
    '',
  ].join('\n')
}
