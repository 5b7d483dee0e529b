// How tasks are bound to CPUs. Each line tells how many CPUs each task may use and how many all of them have together: which
// of the node's CPUs those are is a VM's own matter.
import type { Line } from '../../support/same-lines.ts'

/** `RANK CPU` for each CPU that a task may use. The kernel, taskset and nproc must agree on them. */
export const cpusScript = `expand() { for range in $(echo "$1" | tr , ' '); do seq "\${range%-*}" "\${range#*-}"; done; }
cpus=$(expand "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)")
[ "$(expand "$(taskset -cp $$ | sed 's/.*: //')")" = "$cpus" ] || echo "$SLURM_PROCID taskset-says-otherwise"
[ "$(nproc)" = "$(echo "$cpus" | wc -l)" ] || echo "$SLURM_PROCID nproc-says-otherwise"
for cpu in $cpus; do echo "$SLURM_PROCID $cpu"; done
`

const summary = `awk '{ own[$1]++; all[$2] } END { for (task in own) print "task", task, "has", own[task]; print "together", length(all) }'`
const bound = (...options: string[]): string =>
  options.map((each) => `echo '${each}'; srun ${each} sh ~/cpus | ${summary} | sort`).join('\n')

/** In a job with two CPUs of one node. */
export const binding: readonly Line[] = [
  {
    name: 'the script itself',
    line: `SLURM_PROCID=script sh ~/cpus | ${summary}`,
    code: 0,
    says: 'task script has 2","together 2',
  },
  {
    name: 'two tasks share no CPU',
    line: bound('-n2', '-n2 --cpu-bind=cores', '-n2 --ntasks-per-core=1'),
    code: 0,
    says: 'task 0 has 1","task 1 has 1","together 2',
  },
  { name: 'one task', line: bound('-n1', '-n1 -c1', '-n1 -c2', '-n1 --exact'), code: 0 },
  {
    name: 'unbound tasks',
    line: bound('-n2 --cpu-bind=none'),
    code: 0,
    says: 'task 0 has 2","task 1 has 2","together 2',
  },
  {
    name: 'CPUs by number and by mask',
    line: bound('-n2 --cpu-bind=map_cpu:1,0', '-n2 --cpu-bind=map_cpu:1', '-n2 --cpu-bind=mask_cpu:0x3,0x1'),
    code: 0,
    says: 'task 0 has 2","task 1 has 1","together 2',
  },
  {
    name: 'more tasks than CPUs',
    line: bound('-n4 --overcommit', '-n4 --overcommit --cpu-bind=map_cpu:0,1'),
    code: 0,
  },
  {
    name: 'two steps side by side share no CPU',
    line: `for i in 0 1; do srun --exact -n1 -c1 --mem=100 sh -c "SLURM_PROCID=$i sh ~/cpus; touch $i; until [ -e 0 ] && [ -e 1 ]; do sleep 0.2; done" >$i.cpus & done
wait; rm 0 1; cat *.cpus | ${summary} | sort; rm *.cpus`,
    code: 0,
    says: 'task 0 has 1","task 1 has 1","together 2',
  },
]
