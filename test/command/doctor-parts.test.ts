// The doctor's readers of other programs' files and outputs: `scontrol`, plugstack.conf, ELF, passwd and subuid.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readElfConstant } from '../../lib/command/doctor/elf-symbol.ts'
import { takenRanges } from '../../lib/command/doctor/hypervisor.ts'
import { findPlugstackLine } from '../../lib/command/doctor/plugstack.ts'
import { renderReport } from '../../lib/command/doctor/report.ts'
import { parseSlurmConfig, secondsOf } from '../../lib/command/doctor/slurm-config.ts'
import { parseNodes } from '../../lib/command/slurm-nodes.ts'

t.test('scontrol show config is read with its time, its unset keys and its repeated ones', async (t) => {
  const text = `Configuration data as of 2026-01-31T12:00:05
Epilog                  = (null)
PrologFlags             = Alloc,DeferBatch
Prolog[0]               = /a
Prolog[1]               = /b
PrologEpilogTimeout     = 65534
SLURM_VERSION           = 22.05.8
SlurmctldTimeout        = 30 sec
PowerPlugin             = 

Slurmctld(primary) at ctl is UP
`
  const config = parseSlurmConfig(text, new Date(0))
  t.equal(config.controllerTime?.toISOString(), '2026-01-31T12:00:05.000Z')
  t.equal(config.value('Epilog'), undefined)
  t.equal(config.value('PowerPlugin'), undefined)
  t.equal(config.value('Prolog'), '/a,/b')
  t.equal(config.value('slurm_version'), '22.05.8')
  t.equal(secondsOf(config.value('SlurmctldTimeout')), 30)
  t.equal(secondsOf('UNLIMITED'), undefined)
  t.equal(parseSlurmConfig('', new Date(0)).controllerTime, undefined)
})

t.test('nodes that Slurm does not reach are not asked', async (t) => {
  const text = [
    'NodeName=n1 Arch=x86_64 NodeAddr=10.0.0.1 NodeHostName=n1 State=IDLE Weight=1',
    'NodeName=n2 NodeAddr=10.0.0.2 State=DOWN+NOT_RESPONDING Weight=1',
    'NodeName=n3 NodeAddr=10.0.0.3 State=MIXED+DRAIN Weight=1',
    'NodeName=n4 NodeAddr=10.0.0.4 State=IDLE+POWERED_DOWN Weight=1',
    '',
  ].join('\n')
  t.same(parseNodes(text), [
    { name: 'n1', address: '10.0.0.1' },
    { name: 'n3', address: '10.0.0.3' },
  ])
})

t.test('the line of plugstack.conf is found through includes, patterns and comments, and loops end', async (t) => {
  const folder = t.testdir({
    'plugstack.conf': '# required /p.so\ninclude plugstack.d/*.conf\n',
    'plugstack.d': { 'a.conf': 'optional /other.so\n', 'b.conf': '  required   /p.so  x=1 # ours\n' },
    'loop.conf': 'include loop.conf\n',
    'bare.conf': 'required /p.so.old\n',
  })
  t.same(await findPlugstackLine(join(folder, 'plugstack.conf'), '/p.so'), {
    file: join(folder, 'plugstack.d/b.conf'),
    necessity: 'required',
  })
  t.match(await findPlugstackLine(join(folder, 'plugstack.conf'), '/other.so'), { necessity: 'optional' })
  t.equal(await findPlugstackLine(join(folder, 'loop.conf'), '/p.so'), undefined)
  t.equal(await findPlugstackLine(join(folder, 'bare.conf'), '/p.so'), undefined)
  await t.rejects(findPlugstackLine(join(folder, 'none.conf'), '/p.so'), { code: 'ENOENT' })
})

t.test(
  'the constant of a real shared object is read, and cut or changed ones give nothing or end in order',
  async (t) => {
    const file = readFileSync(join(import.meta.dirname, '../../build/c/vmrm.so'))
    const version = readElfConstant(file, 'plugin_version') ?? 0
    t.equal(version >> 16, 22)
    t.equal(readElfConstant(file, 'plugin_versio'), undefined)
    t.equal(readElfConstant(Buffer.alloc(0), 'plugin_version'), undefined)
    t.equal(readElfConstant(Buffer.from('#!/bin/sh\n'.repeat(50)), 'plugin_version'), undefined)
    for (let length = 0; length < file.length; length += 997) {
      t.doesNotThrow(() => readElfConstant(file.subarray(0, length), 'plugin_version'), `${length} bytes`)
    }
    for (let at = 0; at < 64; at += 1) {
      const hostile = Buffer.from(file)
      hostile[at] = 0xff
      t.doesNotThrow(() => readElfConstant(hostile, 'plugin_version'), `byte ${at} changed`)
    }
  },
)

t.test("accounts and subordinate ranges that touch the range of QEMU's users are named", async (t) => {
  const passwd = 'root:x:0:0::/:\nlow:x:599:1::/:\nfirst:x:600:1::/:\nlast:x:699:1::/:\nhigh:x:700:1::/:\n\n'
  const subuid = 'a:100:500\nb:100:501\nc:699:1\nd:700:100\n'
  const found = takenRanges({ passwd, subuid, first: 600, last: 699 })
  t.same(
    found.map(({ what }) => what),
    ['account first', 'account last', '/etc/subuid of b', '/etc/subuid of c'],
  )
})

t.test('the report has a line a finding, and below what problems mean and what mends them', async (t) => {
  const report = renderReport([
    { check: 'a', verdict: 'ok', text: 'fine' },
    { check: 'long-name', verdict: 'fail', text: 'bad\u001b[2J', meaning: 'So.', mend: 'Do this.' },
  ])
  t.equal(
    report,
    'ok    a          fine\nFAIL  long-name  bad?[2J\n\nFAIL long-name: bad?[2J\n  So.\n  -> Do this.\n\n1 ok, 0 warn, 1 FAIL\n',
  )
})
