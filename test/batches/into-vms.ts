// Into the VMs of a batch: files by `vmrm cp`, and the console at a terminal. There is no job to carry either to another node.
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Jobs } from '../support/job-cluster.ts'
import { openTerminal } from '../support/terminal.ts'
import { type Batch, inVm } from './batch-commands.ts'

const clusterScript = join(import.meta.dirname, '../cluster/cluster')
const local = /LOCAL> $/

/** In alice's home: a file that is no text, and a folder. */
const fill = 'mkdir -p made/deep; head -c 300000 /dev/urandom >bytes; chmod 640 bytes; echo deep >made/deep/file'

/** `batch`: alice's, with its VMs 0 and 1 on n1 and others on n2. */
export async function copyFiles(t: Test, { cluster, alice }: Jobs, batch: Batch): Promise<void> {
  const name = `b${batch.batch}`
  const on = (user: string, script: string) => cluster.run(['bash', '-c', `cd; ${script}`], { user, node: 'n1' })
  t.equal((await alice(['sh', '-c', fill])).exitCode, 0)
  const copies = `mkdir back
    vmrm cp -r made bytes ${name}.1:/tmp && vmrm cp -r ${name}.1:/tmp/made ${name}.1:/tmp/bytes back; echo $?
    cmp bytes back/bytes && stat -c %a back/bytes; cat back/made/deep/file`
  t.match(await on('alice', copies), { stdout: '0\n640\ndeep\n', stderr: '' })
  t.match(
    (await inVm(cluster, batch, 1, 'stat -c "%U %a" /tmp/bytes /tmp/made/deep/file')).stdout,
    'alice 640\nalice 6',
  )
  t.match(await on('root', `cp ~alice/bytes /tmp/of-root; vmrm cp /tmp/of-root ${name}.1:/tmp/; rm /tmp/of-root`), {
    exitCode: 0,
    stderr: '',
  })
  t.equal((await inVm(cluster, batch, 1, 'stat -c %U /tmp/of-root')).stdout, 'alice\n', 'root is the user there')
  t.match(await on('alice', `vmrm cp ${name}.1:/tmp/nosuch . ; vmrm cp bytes ${name}.2:`), {
    exitCode: 65,
    stderr: new RegExp(
      `^vmrm: ${name}\\.1:/tmp/nosuch: No such file or directory\\nvmrm: VM ${name}r0v2 is on node n2, and so is the way into it: ssh -t n2 vmrm cp …\\n$`,
    ),
  })
  const bobs = await on('bob', `vmrm cp ${name}.1:/tmp/bytes .`)
  t.match(bobs, { exitCode: 65, stderr: /^vmrm: there is no batch b\d+ that you may see/ })
  await alice(['rm', '-r', 'bytes', 'made', 'back'])
}

/** The VMs are clones: their log begins with what they say after that. */
export async function attachConsole(t: Test, { cluster, alice }: Jobs, batch: Batch): Promise<void> {
  const [, vm] = batch.vms
  const attach = ['vmrm', 'console', '--attach', `b${batch.batch}`, '--vm', '1']
  t.match(await alice(attach), { exitCode: 65, stderr: /^vmrm: only root may attach/ })
  const away = await cluster.run(attach, { node: 'n2' })
  t.match(away, { exitCode: 65, stderr: `is on node n1, and so is its console: ssh -t n1 ${attach.join(' ')}` })
  const terminal = await openTerminal([clusterScript, 'run', '--node', 'n1', '--', 'bash', '--norc', '--noediting'])
  try {
    terminal.send("PS1='LOCAL''> '\n")
    await terminal.expect(local)
    terminal.send(`${attach.join(' ')}\n`)
    await terminal.expect(new RegExp(`the console of VM ${vm?.name} \\(${vm?.hostname}\\); Ctrl-\\] detaches`))
    // The image has no login there: its kernel shows what is typed, and complains of a mount that a user may try.
    terminal.send('typed at the console\r')
    await terminal.expect(/typed at the console\r+\n/)
    await inVm(cluster, batch, 1, 'unshare -Urm mount -t tmpfs -o nonsense=1 none /mnt')
    await terminal.expect(/tmpfs: Unknown parameter 'nonsense'/)
    const second = await cluster.run(attach, { node: 'n1' })
    t.match(second, { exitCode: 65, stderr: /^vmrm: another process on this node is attached to the console of VM/ })
    terminal.send('\x1d')
    await terminal.expect(/vmrm: detached\r\n/)
    await terminal.expect(local)
  } finally {
    await terminal.hangUp()
  }
  const { stdout } = await alice(['vmrm', 'console', `b${batch.batch}`, '--vm', '1'])
  t.match(stdout, /typed at the console\r\n[\s\S]*'nonsense'/, 'its user reads the log, from everywhere')
}
