// vmrm-gate as Slurm starts it: by link, with an environment of any kind, under ASan and UBSan, with paths of the test's own.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildPart, makeScratch, sanitizers } from '../../support/c-parts.ts'

const kinds = ['prolog', 'epilog', 'prolog-slurmctld', 'epilog-slurmctld'] as const
type Kind = (typeof kinds)[number]

t.setTimeout(120_000)

const builds: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  ['under sanitizers', { CFLAGS: sanitizers, HARDENING: '', LINK: '' }],
  // Static, with the entry point of its own that lets jobs without a VM through.
  ['as it is installed', {}],
]
for (const [what, variables] of builds) await t.test(what, (t) => suite(t, variables))

async function suite(t: Test, variables: Readonly<Record<string, string>>): Promise<void> {
  const scratch = await makeScratch('gate')
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
  const lib = join(scratch, 'lib')
  const run = join(scratch, 'run')
  const off = join(scratch, 'off')
  const flag = join(scratch, 'default-images')
  const jobs = join(run, 'jobs')
  const seen = join(scratch, 'seen')

  await buildPart('gate', scratch, {
    ...variables,
    DEFINES: `-DVMRM_LIB_DIR='"${lib}"' -DVMRM_RUN_DIR='"${run}"' -DVMRM_OFF_SWITCH='"${off}"' -DVMRM_DEFAULTS_FLAG='"${flag}"'`,
  })

  const hook = `#!/bin/sh
{ echo "hook \${0##*/}"; pwd; ls /proc/self/fd | tr '\\n' ' '; echo; cat ${jobs}/* 2>/dev/null; env; } > ${seen}
[ "$SPANK_VMRM_SCRIPT" = killed ] && kill -9 $$
exit \${SPANK_VMRM_TEST_EXIT:-0}
`

  t.beforeEach(() => {
    for (const path of [lib, run, off, flag, seen]) rmSync(path, { recursive: true, force: true })
    mkdirSync(join(lib, 'gate'), { recursive: true })
    for (const kind of kinds) {
      symlinkSync(join(scratch, 'vmrm-gate'), join(lib, 'gate', kind))
      writeFileSync(join(lib, `vmrm-${kind}`), hook, { mode: 0o755 })
    }
  })

  function pass(kind: Kind | string, env: Record<string, string>, prefix = ''): SpawnSyncReturns<string> {
    // sh sets variables of its own and drops odd names, so `env -i` comes last.
    const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    const argv = ['-c', `${prefix} exec env -i "$@"`, 'sh', ...pairs, join(lib, 'gate', kind)]
    return spawnSync('/bin/sh', argv, { encoding: 'utf8', timeout: 10_000 })
  }

  const job = { SLURM_JOB_ID: '42', SPANK_VMRM_IMAGE: 'tiny' }
  const seenText = () => (existsSync(seen) ? readFileSync(seen, 'utf8') : '')
  const marker = () => (existsSync(join(jobs, '42')) ? readFileSync(join(jobs, '42'), 'utf8') : undefined)

  for (const kind of kinds) {
    const withoutVm: readonly (readonly [string, Record<string, string>])[] = [
      ['an empty environment', {}],
      ['no image', { SLURM_JOB_ID: '42', SPANK_VMRM_SCRIPT: 'host' }],
      ['image none', { SLURM_JOB_ID: '42', SPANK_VMRM_IMAGE: 'none' }],
      ['an image of none, then more', { SPANK_VMRM_IMAGE: 'none', SLURM_JOB_ID: 'x' }],
      ['names that are almost the image', { SPANK_VMRM_IMAGE_: 'a', SPANK_VMRM_IMAG: 'a', XSPANK_VMRM_IMAGE: 'a' }],
    ]
    for (const [what, env] of withoutVm)
      t.test(`${kind}: ${what} passes in silence, whatever is missing`, async (t) => {
        rmSync(join(lib, `vmrm-${kind}`))
        const result = pass(kind, env)
        t.match(result, { status: 0, stdout: '', stderr: '' })
        t.notOk(existsSync(run))
      })

    t.test(`${kind} starts its hook with a clean environment, in /, with three descriptors`, async (t) => {
      const env = {
        ...job,
        SPANK_VMRM_PER_NODE: '$(id)\n;"\'',
        SPANK_OTHER: 'x',
        SPANK__SLURM_SPANK_OPTION_vmrm_vm_image: 'x',
        LD_PRELOAD_: 'x',
        BUN_OPTIONS: '--x',
        HOME: '/root',
        PATH: '/evil',
        'SLURM_a b': 'x',
        SLURM_CONF: '/etc/slurm/slurm.conf',
      }
      const result = pass(kind, env, 'cd /tmp; exec 3</dev/null 9</dev/null;')
      t.match(result, { status: 0, stderr: '' })
      const [name, cwd, fds] = seenText().split('\n')
      t.equal(name, `hook vmrm-${kind}`)
      t.equal(cwd, '/')
      // ls itself has its folder open.
      t.equal(fds?.trim(), '0 1 2 3')
      const variables = seenText()
        .split('\n')
        .filter((line) => /^[A-Z_]+=/.test(line) && !/^(PWD|OLDPWD|SHLVL|_)=/.test(line))
      t.same(variables.sort(), [
        'LC_ALL=C.UTF-8',
        'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
        'SLURM_CONF=/etc/slurm/slurm.conf',
        'SLURM_JOB_ID=42',
        'SPANK_VMRM_IMAGE=tiny',
        'SPANK_VMRM_PER_NODE=$(id)',
      ])
      t.match(seenText(), 'SPANK_VMRM_PER_NODE=$(id)\n;"\'\n')
    })

    t.test(`${kind} hands the hook's exit code on`, async (t) => {
      t.equal(pass(kind, { ...job, SPANK_VMRM_TEST_EXIT: '3' }).status, 3)
    })

    t.test(`${kind} starts no hook while the off switch exists`, async (t) => {
      writeFileSync(off, '')
      t.match(pass(kind, job), { status: 0, stderr: '' })
      t.equal(seenText(), '')
      t.equal(marker(), kind === 'prolog' ? 'script=guest\n' : undefined)
    })

    t.test(`${kind} with its hook missing: only the Prolog fails`, async (t) => {
      rmSync(join(lib, `vmrm-${kind}`))
      const result = pass(kind, job)
      t.equal(result.status, kind === 'prolog' ? 1 : 0)
      t.match(result.stderr, `vmrm-gate: cannot start ${lib}/vmrm-${kind}: No such file or directory\n`)
    })

    t.test(`${kind} with standard descriptors closed gives the hook all three`, async (t) => {
      t.equal(pass(kind, job, 'exec 0<&- 1>&- 2>&-;').status, 0)
      t.match(seenText().split('\n')[2], '0 1 2')
      t.equal(marker(), kind === 'prolog' ? 'script=guest\n' : undefined)
    })

    t.test(`${kind} takes the first of repeated variables, and so does its hook`, async (t) => {
      const gate = join(lib, 'gate', kind)
      // Only exec itself can repeat a name: perl's %ENV cannot, so a C-like helper is made with env's NUL list.
      const script = `import ctypes,sys
c=ctypes.CDLL(None)
e=(ctypes.c_char_p*4)(b'SLURM_JOB_ID=42',b'SPANK_VMRM_IMAGE=%s' % sys.argv[2].encode(),b'SPANK_VMRM_IMAGE=%s' % sys.argv[3].encode(),None)
a=(ctypes.c_char_p*2)(sys.argv[1].encode(),None)
c.execve(a[0],a,e)`
      const both = (first: string, second: string) =>
        spawnSync('python3', ['-c', script, gate, first, second], { encoding: 'utf8', timeout: 10_000 }).status
      t.equal(both('none', 'tiny'), 0)
      t.equal(seenText(), '')
      t.equal(both('tiny', 'none'), 0)
      t.match(seenText(), 'SPANK_VMRM_IMAGE=tiny')
      t.notMatch(seenText(), 'SPANK_VMRM_IMAGE=none')
    })
  }

  t.test('the Prolog writes the marker before its hook, the Epilog removes it after its own', async (t) => {
    for (const [script, text] of [
      ['host', 'host'],
      ['guest', 'guest'],
      ['', 'guest'],
      ['HOST\n', 'guest'],
    ] as const) {
      t.equal(pass('prolog', { ...job, SPANK_VMRM_SCRIPT: script }).status, 0)
      t.equal(marker(), `script=${text}\n`)
      t.match(seenText(), `script=${text}\n`)
    }
    const { mode, uid } = lstatSync(join(jobs, '42'))
    t.match({ mode: mode & 0o7777, uid }, { mode: 0o644, uid: 0 })
    t.same(readdirSync(jobs), ['42'], 'nothing but the marker is left')
    rmSync(seen)
    t.equal(pass('epilog', { ...job, SPANK_VMRM_TEST_EXIT: '5' }).status, 5)
    t.match(seenText(), 'script=guest\n')
    t.equal(marker(), undefined)
    t.equal(pass('epilog', job).status, 0, 'again is harmless')
  })

  t.test('a job that named no image is one of VMs on a node that has its marker, and on no other', async (t) => {
    const unnamed = { SLURM_JOB_ID: '42' }
    mkdirSync(jobs, { recursive: true })
    const text = 'script=host\nrestart=3\n'
    writeFileSync(join(jobs, '42'), text)
    writeFileSync(flag, '')
    for (const [id, none] of [
      ['43', {}],
      ['4', {}],
      ['421', {}],
      ['', {}],
      ['042', {}],
      ['42', { SPANK_VMRM_IMAGE: 'none' }],
    ] as const)
      t.match(pass('prolog', { SLURM_JOB_ID: id, ...none }), { status: 0, stdout: '', stderr: '' }, `job ${id}`)
    t.equal(seenText(), '', 'other jobs start no hook')
    t.equal(pass('prolog', { ...unnamed, SPANK_VMRM_TEST_EXIT: '1' }).status, 1)
    t.match(seenText(), 'hook vmrm-prolog\n')
    t.equal(marker(), text, 'the marker is left as it is')
    writeFileSync(off, '')
    rmSync(seen)
    t.equal(pass('prolog', unnamed).status, 0)
    t.equal(seenText(), '', 'the off switch holds for it, too')
    t.equal(marker(), text)
    rmSync(off)
    t.equal(pass('epilog', unnamed).status, 0)
    t.match(seenText(), 'hook vmrm-epilog\n')
    t.equal(marker(), undefined)
    rmSync(seen)
    t.equal(pass('epilog', unnamed).status, 0)
    t.equal(seenText(), '', 'without the marker it is a plain job')
  })

  t.test('with the flag of default images the controller looks at jobs that named none', async (t) => {
    const unnamed = { SLURM_JOB_ID: '42' }
    for (const kind of ['prolog-slurmctld', 'epilog-slurmctld'] as const) {
      t.equal(pass(kind, { ...unnamed, SPANK_VMRM_TEST_EXIT: '1' }).status, 0)
      t.equal(seenText(), '', 'without the flag no hook starts')
      writeFileSync(flag, '')
      t.equal(pass(kind, { ...unnamed, SPANK_VMRM_TEST_EXIT: '1' }).status, 1)
      t.match(seenText(), `hook vmrm-${kind}\n`)
      rmSync(seen)
      t.equal(pass(kind, { ...unnamed, SPANK_VMRM_IMAGE: 'none', SPANK_VMRM_TEST_EXIT: '1' }).status, 0)
      t.equal(seenText(), '', 'an explicit none is not looked at')
      writeFileSync(off, '')
      t.equal(pass(kind, { ...unnamed, SPANK_VMRM_TEST_EXIT: '1' }).status, kind === 'prolog-slurmctld' ? 1 : 0)
      t.equal(seenText() !== '', kind === 'prolog-slurmctld', 'switched off, it still keeps such a job from starting')
      rmSync(join(lib, `vmrm-${kind}`))
      t.equal(pass(kind, unnamed).status, 0, 'a hook that is missing holds up nobody')
      for (const path of [off, flag, seen]) rmSync(path, { force: true })
    }
    t.notOk(existsSync(run))
  })

  t.test('an Epilog hook that is killed drains no node, and its marker goes', async (t) => {
    pass('prolog', job)
    const result = pass('epilog', { ...job, SPANK_VMRM_SCRIPT: 'killed' })
    t.match(result, { status: 0, stderr: `${lib}/vmrm-epilog was killed by signal 9` })
    t.equal(marker(), undefined)
  })

  t.test("the controller's gates touch no marker", async (t) => {
    pass('prolog-slurmctld', job)
    pass('epilog-slurmctld', job)
    t.notOk(existsSync(run))
  })

  for (const id of [
    '',
    '0',
    '042',
    '-1',
    '+1',
    '1 ',
    ' 1',
    '1\n',
    '../x',
    '1/2',
    '4294967296',
    '99999999999',
    '1e3',
    '٣',
  ])
    t.test(`the job id ${JSON.stringify(id)} is refused`, async (t) => {
      for (const kind of ['prolog', 'epilog'] as const) {
        const result = pass(kind, { SLURM_JOB_ID: id, SPANK_VMRM_IMAGE: 'tiny' })
        t.equal(result.status, kind === 'prolog' ? 1 : 0)
        t.match(result.stderr, 'the marker of job')
      }
      t.same(existsSync(jobs) ? readdirSync(jobs) : [], [])
      t.same(
        readdirSync(scratch).filter((name) => !['lib', 'off', 'run', 'seen', 'vmrm-gate'].includes(name)),
        [],
      )
    })

  const badFolders: readonly (readonly [string, () => void])[] = [
    [
      'a link',
      () => {
        mkdirSync(run)
        mkdirSync(join(scratch, 'run/elsewhere'))
        symlinkSync('elsewhere', jobs)
      },
    ],
    [
      "another user's",
      () => {
        mkdirSync(jobs, { recursive: true })
        chownSync(jobs, 1234, 1234)
      },
    ],
    [
      'writable for others',
      () => {
        mkdirSync(jobs, { recursive: true })
        chmodSync(jobs, 0o777)
      },
    ],
    [
      'below a folder that others may write',
      () => {
        mkdirSync(jobs, { recursive: true })
        chmodSync(run, 0o777)
      },
    ],
    [
      'a file',
      () => {
        mkdirSync(run)
        writeFileSync(jobs, '')
      },
    ],
  ]
  for (const [what, make] of badFolders)
    t.test(`a folder of markers that is ${what} fails the Prolog`, async (t) => {
      make()
      t.match(pass('prolog', job), { status: 1, stderr: 'cannot write the marker of job 42' })
      t.equal(seenText(), '')
      t.notOk(existsSync(join(scratch, 'run/elsewhere/42')))
    })

  t.test('a link in the place of the marker is replaced, not followed', async (t) => {
    const target = join(scratch, 'run', 'target')
    mkdirSync(jobs, { recursive: true })
    writeFileSync(target, 'untouched')
    symlinkSync(target, join(jobs, '42'))
    t.equal(pass('prolog', job).status, 0)
    t.equal(readFileSync(target, 'utf8'), 'untouched')
    t.ok(lstatSync(join(jobs, '42')).isFile())
  })

  t.test('a wrong name in slurm.conf is said and drains no node', async (t) => {
    symlinkSync(join(scratch, 'vmrm-gate'), join(lib, 'gate', 'proloog'))
    t.match(pass('proloog', job), { status: 0, stderr: 'vmrm-gate: slurm.conf must name it as' })
    t.match(pass('proloog', {}), { status: 0, stderr: '' })
  })
}
