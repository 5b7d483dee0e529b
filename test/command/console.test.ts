// `vmrm console` without a VM: who may read, and what is shown of what a guest wrote. The real one: test/jobs/interactive.test.ts.
import t from 'tap'
import { copyConsole, createPrinter } from '../../lib/command/console.ts'
import { createConsoleHandler } from '../../lib/daemon/controller/handlers/console-handler.ts'
import type { Ledger, RunRecord } from '../../lib/daemon/controller/ledger/ledger.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

const bytes = (text: string) => new Uint8Array(Buffer.from(text))

t.test('a terminal gets whole clean lines, anything else the bytes', async (t) => {
  const shown: string[] = []
  const clean = createPrinter('clean', (part) => shown.push(String(part)))
  clean.print(bytes('one\r\ntw'))
  clean.print(bytes('o\u001b[3'))
  clean.print(bytes('1mred\u001b[0m\nlogin: '))
  t.same(shown, ['one\n', 'twored\n'])
  clean.pause()
  t.equal(shown.at(-1), 'login: ')
  const raw: (string | Uint8Array)[] = []
  createPrinter('raw', (part) => raw.push(part)).print(bytes('\u001b[31m'))
  t.same(raw, [bytes('\u001b[31m')])
})

t.test('it asks on from where the last part ended, until nothing more is there or the VM has ended', async (t) => {
  const parts = ['hello ', 'world\n', '', 'late\n']
  const remark = (sentence: string) => t.fail(sentence)
  const asked: number[] = []
  const play = async (until: 'now' | 'ended') => {
    let text = ''
    let number = 0
    asked.length = 0
    const call = async (_type: string, { offset }: { offset: number }) => {
      asked.push(offset)
      const part = parts[number++]
      if (part === undefined) throw new VmrmError('run-unknown', 'gone')
      return { offset, end: 12, data: bytes(part), state: 'committed' }
    }
    const printer = createPrinter('clean', (part) => {
      text += String(part)
    })
    await copyConsole({ controller: { call: call as never }, of: { job: 1 }, vm: 0, until, printer, remark })
    return text
  }
  t.equal(await play('now'), 'hello world\n')
  t.same(asked, [0, 6])
  t.equal(await play('ended'), 'hello world\nlate\n')
  const call = async () => {
    throw new VmrmError('job-without-vms', 'none')
  }
  const printer = createPrinter('raw', () => {})
  await t.rejects(copyConsole({ controller: { call }, of: { job: 1 }, vm: 0, until: 'ended', printer, remark }), {
    message: 'none',
  })
})

/** What is shown of a log whose parts are these, with remarks in brackets. */
async function shownOf(
  until: 'now' | 'ended',
  answer: (asked: number) => readonly [number, number, string] | undefined,
) {
  let shown = ''
  let asked = 0
  const call = async () => {
    const part = answer(asked++)
    if (part === undefined) throw new VmrmError('run-unknown', 'gone')
    return { offset: part[0], end: part[1], data: bytes(part[2]), state: 'committed' }
  }
  const printer = createPrinter('clean', (part) => {
    shown += String(part)
  })
  const remark = (sentence: string) => {
    shown += `[${sentence}]`
  }
  await copyConsole({ controller: { call: call as never }, of: { job: 1 }, vm: 0, until, printer, remark })
  return { shown, asked }
}

t.test('of a guest that never stops talking it shows what was there at the begin', async (t) => {
  const chatty = (asked: number) => [asked * 4, asked * 4 + 12, `${asked}__\n`] as const
  t.same(await shownOf('now', chatty), { shown: '0__\n1__\n2__\n', asked: 3 })
})

t.test('what is missing of a log that was cut, or shown again of one that begins anew, is told', async (t) => {
  const parts = [
    [7, 12, 'cut '],
    [50, 55, 'gap\n'],
    [0, 4, 'new\n'],
  ] as const
  t.same(await shownOf('ended', (asked) => parts[asked]), {
    shown:
      'cut [the log was cut: 39 bytes of it are missing here]gap\n' +
      '[the log begins anew here: some of it may have been shown before]new\n',
    asked: 4,
  })
})

t.test("the job's user, root and SlurmUser may read; for others the job has no VMs", async (t) => {
  const plan = {
    nodes: [
      { node: 'n1', vms: [{ index: 0 }] },
      { node: 'n2', vms: [{ index: 1 }] },
    ],
  }
  const record = { job: 5, restart: 1, uid: 2001, state: 'committed', plan } as unknown as RunRecord
  const ledger = (run: RunRecord) => ({ ofJob: () => [run] }) as unknown as Ledger
  const ask = async (uid: number, vm: number, run: RunRecord = record) => {
    const readConsole = async (node: string, _run: object, part: { offset: number }) => ({
      offset: part.offset,
      end: 9,
      data: bytes(node),
    })
    const handle = createConsoleHandler({ ledger: ledger(run), readConsole, trustedUids: [0, 64030] })
    const reply = await handle({ job: 5, vm, offset: 3 }, { from: 'munge', uid, gid: uid, host: 'user' })
    return [Buffer.from(reply.data).toString(), reply.offset, reply.state]
  }
  for (const uid of [2001, 0, 64030]) t.same(await ask(uid, 1), ['n2', 3, 'committed'], `uid ${uid}`)
  await t.rejects(ask(2002, 0), { code: 'job-without-vms' })
  await t.rejects(ask(2001, 2), { code: 'vm-unknown' })
  await t.rejects(ask(2001, 0, { ...record, plan: undefined }), { code: 'vms-not-ready' })
  await t.rejects(ask(2001, 0, { ...record, state: 'ended' }), { code: 'job-without-vms' })
})
