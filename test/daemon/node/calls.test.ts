// What a node runs for a guest that asks for a command: whose, from which list, in which folder; and what becomes of the folder.
import { existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { JournalEntry } from '../../../lib/daemon/node/runs/journal.ts'
import type { LiveRun } from '../../../lib/daemon/node/runs/live-run.ts'
import { callsOf, createAdmitCall } from '../../../lib/daemon/node/tasks/admit-call.ts'
import { makeCallFolder, removeCallFolder } from '../../../lib/daemon/node/tasks/call-folder.ts'
import { silentLog } from '../../../lib/log.ts'
import { relayedCommands } from '../../../lib/slurm/relayed-commands.ts'
import { imageOf } from '../../support/image-of.ts'

const entry = { job: 7, restart: 0, uid: 2001, gid: 2001, state: 'committed' } as JournalEntry

const imageWith = (relay: boolean) => imageOf('tiny', { os: { family: 'linux', agent: 'builtin', relay } })

t.test('commands are run for the run’s own user alone, never for root, and where the image lets them be', async (t) => {
  t.equal(callsOf(entry, 2001, imageWith(true)), 'allowed')
  t.equal(
    callsOf(entry, 0, imageWith(true)),
    'refused',
    'root may enter the VM of a user; nothing in it may act as root',
  )
  t.equal(callsOf({ ...entry, uid: 0 }, 0, imageWith(true)), 'refused', 'a job of root')
  t.equal(callsOf(entry, 2002, imageWith(true)), 'refused')
  t.equal(callsOf(entry, 2001, imageWith(false)), 'refused')
  t.equal(callsOf(entry, 2001, undefined), 'refused', 'an image that is not in the catalogue')
})

t.test('a command is looked up in the list and nothing else of it is used', async (t) => {
  const folder = t.testdir({ srun: '', sbcast: '', bash: '' })
  const allowed = ['srun', 'sbcast', 'sinfo', 'bash', '']
  const commands = relayedCommands({ allowed, folder, vmrm: '/vmrm' })
  t.same([...commands.keys()], ['srun', 'sbcast'], 'what is none of Slurm’s, or not there, is left out')
  const find = { entry } as { entry: JournalEntry }
  const admit = createAdmitCall({
    ...{ commands, log: silentLog, folderOf: async () => '/calls' },
    findRun: (job) => (job === 7 ? (find as LiveRun) : undefined),
  })
  const request = { jobId: '7', vm: 'j7r0v0', command: 'srun', uid: 2001 }
  t.match(await admit(request), { outcome: 'admitted', program: join(folder, 'srun'), folder: '/calls' })
  const sbcast = { program: '/vmrm', programArguments: ['sbcast'] }
  t.match(await admit({ ...request, command: 'sbcast' }), sbcast)
  t.same(await admit({ ...request, command: undefined }), { outcome: 'admitted', folder: '/calls' }, 'it runs already')
  for (const command of [
    'sinfo',
    'bash',
    '',
    '../srun',
    join(folder, 'srun'),
    'srun\0',
    'constructor',
    'x'.repeat(250),
  ]) {
    t.match(await admit({ ...request, command }), { outcome: 'refused', text: /is none of the commands/ }, command)
  }
  for (const change of [{ jobId: '8' }, { uid: 2002 }, { uid: 0 }]) {
    t.match(await admit({ ...request, ...change }), { outcome: 'refused', text: /the job has ended/ })
  }
  for (const state of ['preparing', 'prepared', 'refused', 'lost', 'removing'] as const) {
    find.entry = { ...entry, state }
    t.match(await admit(request), { outcome: 'refused' }, state)
  }
})

t.test('the folder is the user’s, and root removes what is in it and nothing that it points to', async (t) => {
  const folder = t.testdir({ precious: { file: 'still here' } })
  const calls = join(folder, 'calls')
  await makeCallFolder(calls, { uid: 2001, gid: 2002 })
  t.match(lstatSync(calls), { uid: 2001, gid: 2002, mode: 0o40700 })
  mkdirSync(join(calls, 'a/b'), { recursive: true })
  writeFileSync(join(calls, 'a/b/script'), 'x', { mode: 0o400 })
  symlinkSync(join(folder, 'precious'), join(calls, 'a/link'))
  await makeCallFolder(calls, { uid: 2001, gid: 2002 })
  t.ok(existsSync(join(calls, 'a/b/script')), 'made again it is as it was')
  await removeCallFolder(calls)
  t.notOk(existsSync(calls))
  t.ok(existsSync(join(folder, 'precious/file')))
  await removeCallFolder(calls)
  symlinkSync(join(folder, 'precious'), calls)
  await removeCallFolder(calls)
  t.ok(existsSync(join(folder, 'precious/file')), 'the folder itself is a link')
})
