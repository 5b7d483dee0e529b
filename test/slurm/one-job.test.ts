// What Slurm's commands are told of a job that is part of another: stand-ins for squeue and scontrol, real processes.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { commentFormat } from '../../lib/slurm/admin-comment.ts'
import { createSlurmCommands } from '../../lib/slurm/commands.ts'
import { nameFormat, requeuable, selectorOf } from '../../lib/slurm/one-job.ts'

/** As squeue prints an array of which tasks 1 and 2 run and the others wait, its last task, a heterogeneous job and a plain one. */
const queue = ['11|10_1', '12|10_2', '10|10_[3-9]', '20|20_7', '30|30+0', '31|30+1', '40|40']

t.test('a job is named so that scontrol takes no other for it', (t) => {
  for (const [job, selector, requeued] of [
    [11, '10_1', '10_1'],
    [20, '20_7', '20_7'],
    [30, '30+0', '30'],
    [31, '30+1', '30'],
    [40, '40', '40'],
  ] as const) {
    t.equal(selectorOf(queue.join('\n'), job), selector)
    t.equal(requeuable(selector), requeued)
  }
  t.equal(selectorOf(queue.join('\n'), 10), undefined, 'all that has not begun is no job')
  t.equal(selectorOf(queue.join('\n'), 1), undefined, 'not by its first digit')
  t.end()
})

t.test(
  'requeues and comments reach one task of an array, and a heterogeneous job by its first component',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'vmrm-one-job-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    const script = (name: string, body: string) => {
      writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`)
      chmodSync(join(folder, name), 0o755)
    }
    const names = queue.map((line) => `'${line}'`).join(' ')
    script(
      'squeue',
      `case "$*" in *'=${nameFormat}'*) printf '%s\\n' ${names};; *) printf '%-16s(null)\\n' 20 31;; esac`,
    )
    script('scontrol', `echo "$*" >> ${folder}/told`)
    const slurm = createSlurmCommands({ commandsFolder: folder, configFile: '/dev/null' })
    await slurm.requeue(20)
    await slurm.requeue(31)
    await slurm.comment(20, 'why')
    await slurm.comment(31, 'why')
    t.same(readFileSync(join(folder, 'told'), 'utf8').trim().split('\n'), [
      ...['requeue 20_7', 'requeue 30', 'update JobId=20_7 AdminComment=why', 'update JobId=30+1 AdminComment=why'],
    ])
    await t.rejects(slurm.requeue(99), { code: 'command-failed', message: 'squeue does not know job 99' })
    t.match(commentFormat, /^JobID:16,/, 'which the stand-in prints')
  },
)
