// Slurm's commands as a process in a guest sees them: real agent, real vmrm-run and its servers, real relay. What runs on the host is a shell here, under
// a command's name; agent, callers and vmrm-run run under ASan and UBSan.
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { until } from '../support/until.ts'
import { buildC, Rig, type Run } from './rig.ts'

t.setTimeout(180_000)
const agent = buildC('vmrm-agent', 'sanitized')
const run = buildC('vmrm-run', 'sanitized')
const folder = mkdtempSync(join(tmpdir(), 'vmrm-test-commands-'))
chmodSync(folder, 0o755)
const bin = join(folder, 'bin')
const calls = join(folder, 'calls')
mkdirSync(bin)
mkdirSync(calls)
const commands = ['srun', 'sbatch', 'salloc', 'scancel', 'squeue', 'scontrol', 'sattach', 'sbcast', 'bash']
for (const name of commands) symlinkSync(agent, join(bin, name))

/** On the host: prints its arguments, or what VMRM_TEST_DO says. */
const tool = join(folder, 'tool')
writeFileSync(
  tool,
  '#!/bin/sh\n[ -z "$VMRM_TEST_DO" ] || eval "$VMRM_TEST_DO"\nfor a in "$@"; do printf "[%s]" "$a"; done\necho\n',
  { mode: 0o755 },
)

const shells = ['sattach', 'squeue']
const rig = await Rig.start({
  agent,
  run,
  admitCall: ({ command = '' }) => {
    if (command === 'bash')
      return { outcome: 'refused', text: 'vmrm: bash is none of Slurm’s commands here\n', exitCode: 1 }
    if (command === 'salloc') return { outcome: 'admitted', program: join(folder, 'salloc'), folder: calls }
    if (shells.includes(command)) return { outcome: 'admitted', program: '/bin/sh', folder: calls }
    return {
      outcome: 'admitted',
      program: tool,
      folder: calls,
      ...(command === 'sbcast' && { programArguments: ['first'] }),
    }
  },
})
t.teardown(async () => {
  await rig.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A task whose script finds the commands in its PATH. */
function task(script: string, more: { stdin?: 'pipe'; env?: Record<string, string>; args?: string[] } = {}): Run {
  return rig.run({
    argv: ['sh', '-c', script, 'sh', ...(more.args ?? [])],
    env: { PATH: `${bin}:/usr/bin:/bin`, HOME: '/tmp', ...more.env },
    ...(more.stdin !== undefined && { stdin: more.stdin }),
  })
}

const printed = (r: Run, text: string) => until(`${text} in ${r.stdout}${r.stderr}`, () => r.stdout.includes(text))
const alive = (marker: string): boolean =>
  readdirSync('/proc').some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(marker)
    } catch {
      return false
    }
  })

t.test('a command ends in the guest as it did on the host', async (t) => {
  for (const [script, expected] of [
    ['squeue -c "exit 0"; echo $?', '0\n'],
    ['squeue -c "echo \\$0"', 'squeue\n'],
    [`${bin}/squeue -c "echo \\$0"`, `${bin}/squeue\n`],
    ['squeue -c "exit 7"; echo $?', '7\n'],
    ['squeue -c "exit 255"; echo $?', '255\n'],
    ['squeue -c "kill -9 \\$\\$"; echo $?', '137\n'],
    ['squeue -c "kill -TERM \\$\\$"; echo $?', '143\n'],
    ['squeue -c "echo out; echo err >&2; exit 3" 2>/dev/null; echo $?', 'out\n3\n'],
    ['squeue -c "sleep 100 & echo gone"', 'gone\n'],
  ] as const) {
    const r = task(script)
    await r.ended
    t.equal(r.stdout, expected, script)
    t.equal(r.stderr.replaceAll(/^(Killed|Terminated)\n/gm, ''), '', script)
  }
})

t.test('arguments, environment, folder and umask are data', async (t) => {
  const nasty = 'a b\'"$(id);\n\\`x` é'
  const script = 'cd /usr && umask 027 && squeue -c \'printf "%s|%s|%s|%s" "$1" "$NASTY" "$PWD" "$(umask)"\' - "$NASTY"'
  const r = task(script, { env: { NASTY: nasty } })
  await r.ended
  t.equal(Buffer.from(r.stdout, 'latin1').toString(), `${nasty}|${nasty}|/usr|0027`)
})

t.test('what acts on a program itself travels under another name', async (t) => {
  const env = {
    LD_PRELOAD: '',
    GLIBC_TUNABLES: 'glibc.malloc.check=0',
    MALLOC_CHECK_: '1',
    SLURM_CONF: '/tmp/own.conf',
  }
  const r = task('VMRM_GUEST_LD_AUDIT=spoof squeue -c "env | sort"', { env: { ...env, KEPT: 'yes' } })
  await r.ended
  const seen = new Map(
    r.stdout.split('\n').map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]),
  )
  for (const name of ['LD_PRELOAD', 'GLIBC_TUNABLES', 'MALLOC_CHECK_', 'VMRM_GUEST_LD_AUDIT'])
    t.notOk(seen.has(name), name)
  t.equal(seen.get('VMRM_GUEST_GLIBC_TUNABLES'), env.GLIBC_TUNABLES)
  t.equal(seen.get('PATH'), '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
  t.equal(seen.get('VMRM_GUEST_PATH'), `${bin}:/usr/bin:/bin`)
  t.equal(seen.get('KEPT'), 'yes')
  t.equal(seen.get('SLURM_CONF'), env.SLURM_CONF, 'the host’s own, which here is the same')
  const back = rig.run({
    argv: ['/usr/bin/env'],
    env: {
      ...{
        PATH: seen.get('PATH') ?? '',
        VMRM_GUEST_PATH: '/guest/bin',
        VMRM_GUEST_GLIBC_TUNABLES: 'x=1',
        SLURM_SPANK_VMRM_FOLDER: '/usr/lib',
      },
      ...{ VMRM_GUEST_OTHER: 'no', VMRM_GUEST_LOCPATH: 'old', LOCPATH: 'new' },
    },
  })
  await back.ended
  const given = back.stdout.split('\n').filter((line) => /PATH|GLIBC|OTHER|CWD|GUEST/.test(line))
  t.same(given.sort(), ['GLIBC_TUNABLES=x=1', 'LOCPATH=new', 'PATH=/guest/bin'])
  const place = rig.run({ argv: ['/bin/pwd'], env: { SLURM_SPANK_VMRM_FOLDER: '/usr/lib' } })
  await place.ended
  t.equal(place.stdout, '/usr/lib\n')
})

t.test('no variable of a guest chooses what runs on the host, and a task in a VM has them all back', async (t) => {
  const renamed = {
    LD_PRELOAD: '',
    LD_AUDIT: '',
    LD_LIBRARY_PATH: '/nowhere',
    GLIBC_TUNABLES: 'glibc.malloc.check=0',
    GCONV_PATH: '/nowhere',
    LOCPATH: '/nowhere',
    MALLOC_TRACE: '/nowhere/trace',
    LUA_PATH: '/nowhere/?.lua',
    OPENSSL_CONF: '/nowhere/openssl.cnf',
    BUN_BE_BUN: '1',
    BUN_OPTIONS: '--preload /nowhere/x.js',
    BUN_INSPECT: 'ws://127.0.0.1:1',
    NODE_OPTIONS: '--require /nowhere/x.js',
    NODE_EXTRA_CA_CERTS: '/nowhere/ca',
    JSC_useJIT: '0',
    UV_THREADPOOL_SIZE: '1',
    SLURM_STDINMODE: '/nowhere/in',
    SLURM_STDOUTMODE: '/nowhere/out',
    SLURM_STDERRMODE: '/nowhere/err',
    SRUN_INPUT: '/nowhere/in',
    SRUN_OUTPUT: '/nowhere/out',
    SRUN_ERROR: '/nowhere/err',
    SLURM_HOSTFILE: '/nowhere/hosts',
    SLURM_BCAST: '/nowhere/copy',
    SLURM_PROLOG: '/nowhere/prolog',
    SLURM_EPILOG: '/nowhere/epilog',
  }
  const unchanged = { KEPT: 'yes', SLURM_OPEN_MODE: 'append', BUNCH: 'of', NODES: 'two', NODELIST: 'a' }
  // Of its loader's variables a sanitized program takes note itself; `env` sets them for squeue alone.
  const names = Object.keys(renamed).filter((name) => !name.startsWith('LD_'))
  const set = Object.entries(renamed).map(([name, value]) => `${name}='${value}'`)
  const r = task(`env ${set.join(' ')} SLURM_CONF=/guest/conf SLURM_CONF_SERVER=guest ${bin}/squeue -c env`, {
    env: { ...unchanged, SLURM_CONF: '/host/conf', SLURM_CONF_SERVER: 'host:6817' },
  })
  t.match(await r.ended, { code: 0 }, r.stderr)
  const asMap = (text: string) =>
    new Map(text.split('\n').map((line) => [line.split('=')[0] ?? '', line.slice(line.indexOf('=') + 1)]))
  const seen = asMap(r.stdout)
  for (const [name, value] of Object.entries(renamed)) {
    t.notOk(seen.has(name), name)
    t.equal(seen.get(`VMRM_GUEST_${name}`), value, name)
  }
  for (const [name, value] of Object.entries(unchanged)) t.equal(seen.get(name), value, name)
  t.equal(seen.get('SLURM_CONF'), '/host/conf')
  t.equal(seen.get('SLURM_CONF_SERVER'), 'host:6817')
  const carried = Object.fromEntries([...seen].filter(([name]) => name.startsWith('VMRM_GUEST_')))
  const back = rig.run({ argv: ['/usr/bin/env'], env: { ...carried, KEPT: 'yes' } })
  await back.ended
  const given = asMap(back.stdout)
  for (const name of names) t.equal(given.get(name), renamed[name as keyof typeof renamed], name)
  t.equal(given.get('LD_LIBRARY_PATH'), '/nowhere')
  t.equal(given.get('KEPT'), 'yes')
  t.notOk([...given.keys()].some((name) => name.startsWith('VMRM_GUEST_')))
  const none = task('SLURM_CONF_SERVER=guest squeue -c env')
  await none.ended
  t.notMatch(none.stdout, 'SLURM_CONF_SERVER', 'absent where the host has none')
})

t.test('20 MB of any bytes go through a command and back', async (t) => {
  const bytes = randomBytes(1 << 20)
  const r = task('sattach -c cat | sattach -c "cat; echo end >&2"', { stdin: 'pipe' })
  const digest = createHash('sha256')
  for (let i = 0; i < 20; i++) {
    digest.update(bytes)
    if (r.child.stdin?.write(bytes) === false) await new Promise((resolve) => r.child.stdin?.once('drain', resolve))
  }
  r.child.stdin?.end()
  t.match(await r.ended, { code: 0 })
  t.equal(r.stdoutBytes, 20 << 20)
  t.equal(r.digest.digest('hex'), digest.digest('hex'))
  t.equal(r.stderr, 'end\n')
})

t.test('a command that reads no stdin leaves it to the script; one whose reader is gone ends', async (t) => {
  const r = task('squeue -c "cat; echo none"; cat', { stdin: 'pipe' })
  r.child.stdin?.end('the script’s own\n')
  await r.ended
  t.equal(Buffer.from(r.stdout, 'latin1').toString(), 'none\nthe script’s own\n')
  const early = task('squeue -c "yes" | head -n 1')
  await early.ended
  t.equal(early.stdout, 'y\n')
  const twice = task('(squeue -c "head -c 3000000 /dev/zero" & squeue -c "head -c 3000000 /dev/zero"; wait) | wc -c')
  await twice.ended
  t.equal(twice.stdout, '6000000\n', 'two that share one pipe')
})

t.test('signals reach the command, and it ends by them as usual', async (t) => {
  for (const name of ['HUP', 'INT', 'QUIT', 'TERM', 'USR1', 'USR2', 'WINCH', 'ALRM']) {
    const inner = `trap "echo got ${name}; exit 4" ${name}; echo ready; while :; do sleep 0.02; done`
    // To the whole group, as a terminal does.
    const script = 'trap : $2; exec 3<&0; (read go <&3; kill -$2 0) & squeue -c "$1"; echo $?'
    const r = task(script, { stdin: 'pipe', args: [inner, name] })
    await printed(r, 'ready')
    r.child.stdin?.end('go\n')
    await r.ended
    t.equal(r.stdout, `ready\ngot ${name}\n4\n`, name)
  }
})

t.test('STOP and CONT: Ctrl-Z stops the command too', async (t) => {
  const inner = `echo ready; while :; do echo tick >> ${folder}/ticks; sleep 0.02; done`
  const r = task(
    'squeue -c "$1" & pid=$!; read a; kill -TSTP $pid; read b; kill -CONT $pid; read c; kill $pid; wait $pid; echo $?',
    { stdin: 'pipe', args: [inner] },
  )
  await printed(r, 'ready')
  const ticks = () => readFileSync(join(folder, 'ticks'), 'utf8').length
  await until('a tick', () => existsSync(join(folder, 'ticks')))
  r.child.stdin?.write('stop\n')
  let last = -1
  let same = 0
  await until('it to stand still', () => {
    same = ticks() === last ? same + 1 : 0
    last = ticks()
    return same > 60
  })
  r.child.stdin?.write('go on\n')
  await until('more ticks', () => ticks() > last)
  r.child.stdin?.end('end\n')
  await r.ended
  t.match(r.stdout, '143\n')
})

t.test('a script goes along with its name, and its file is gone afterwards', async (t) => {
  writeFileSync(join(folder, 'job.sh'), '#!/bin/sh\necho from the guest\n')
  const body = 'f=$3; printf "%s " "$1" "$2"; basename "$f"; cat "$f"; stat -c %a "$f"; set --'
  const r = task(`cd ${folder}; sbatch -J name --parsable job.sh one`, { env: { VMRM_TEST_DO: body } })
  await r.ended
  t.equal(r.stdout, '--job-name=name --parsable job.sh\n#!/bin/sh\necho from the guest\n600\n\n')
  await until('the files’ end', () => readdirSync(calls).length === 0)
  const none = task(`sbatch ${folder}/nosuch.sh; echo $?`)
  await none.ended
  t.equal(none.stdout, '1\n')
  t.equal(none.stderr, `sbatch: error: Unable to open file ${folder}/nosuch.sh\n`)
  const waits = task(
    `cd ${folder}; VMRM_TEST_DO='f=$3; echo "$1" "$2"; set --' sbatch --wait -W job.sh; srun --wait 5 -W6 x`,
  )
  await waits.ended
  t.equal(waits.stdout, '--wait -W\n\n[--wait=5][--wait=6][x]\n', 'of sbatch it has no value, of srun it has')
  const strategy = task('VMRM_TEST_DO=cat sbatch --vm-strategy best-effort <<END\n#!/bin/sh\nall there are\nEND')
  await strategy.ended
  t.equal(strategy.stdout, '#!/bin/sh\nall there are\n[--vm-strategy=best-effort]\n', 'its value is no script')
  t.equal(strategy.stderr, '')
  const here = task('VMRM_TEST_DO=cat sbatch --parsable <<END\n#!/bin/sh\nfrom stdin\nEND')
  await here.ended
  t.equal(here.stdout, '#!/bin/sh\nfrom stdin\n[--parsable]\n')
  const wrap = task('echo mine | (VMRM_TEST_DO=cat sbatch --wrap "a b" ; cat)')
  await wrap.ended
  t.equal(wrap.stdout, '[--wrap=a b]\nmine\n')
})

t.test('srun: what it reads and writes by name is the guest’s', async (t) => {
  const hidden = 'vmrm: srun would run its --prolog and --epilog outside the VM; they are not available in one\n'
  const cases = [
    ['srun -lN2 -n 4 prog -o x', '[-l][--nodes=2][--ntasks=4][prog][-o][x]\n', ''],
    ['echo in > i; VMRM_TEST_DO=cat srun --input=i -N1 prog; cat i', 'in\n[--nodes=1][prog]\nin\n', ''],
    ['srun -o out prog; cat out', '[--output=/dev/stdout][prog]\n', ''],
    [
      'VMRM_TEST_DO="echo e >&2" srun -oout -e err prog; cat out err',
      '[--output=/dev/stdout][--error=/dev/stderr][prog]\ne\n',
      '',
    ],
    [
      'echo old > out; srun --open-mode=append -o out a; cat out',
      'old\n[--open-mode=append][--output=/dev/stdout][a]\n',
      '',
    ],
    [
      'echo old > out; SLURM_OPEN_MODE=Append srun -o out a; SLURM_OPEN_MODE=a srun --open-mode=t -o o2 b; cat out o2',
      'old\n[--output=/dev/stdout][a]\n[--open-mode=t][--output=/dev/stdout][b]\n',
      '',
    ],
    [
      'echo in > i; export SLURM_STDINMODE=i SLURM_STDOUTMODE=o SLURM_STDERRMODE=e; VMRM_TEST_DO="cat; echo e >&2" srun x; cat o e; srun -o p -e none x; cat p',
      'in\n[--output=/dev/stdout][--error=/dev/stderr][x]\ne\n[--output=/dev/stdout][--error=none][x]\n',
      '',
    ],
    ['SLURM_STDOUTMODE=no SRUN_OUTPUT=o-%t srun x', '[--output=o-%t][x]\n', ''],
    ['srun -o o-%t -i none prog', '[--input=none][--output=o-%t][prog]\n', ''],
    ['srun -o all.out -e NONE -i - prog; ls', '[--input=-][--output=all.out][--error=NONE][prog]\n', ''],
    ['srun -o out -e out prog; cat out', '[--output=/dev/stdout][--error=/dev/stdout][prog]\n', ''],
    ['echo "0 x" > mp; VMRM_TEST_DO=\'cat "$2"; basename "$2"; set --\' srun --multi-prog mp', '0 x\nmp\n\n', ''],
    [
      'srun --epilog=/bin/sh x; echo $?',
      '1\n',
      'srun: error: --epilog would run /bin/sh outside the VM; it is not available in one\n',
    ],
    [
      'SLURM_PROLOG=/bin/sh srun x; echo $?',
      '1\n',
      'vmrm: SLURM_PROLOG and SLURM_EPILOG name programs that srun would run outside the VM; they are not available in one\n',
    ],
    [
      'touch best-effort; srun --vm-strategy best-effort prog --vm-strategy x',
      '[--vm-strategy=best-effort][prog][--vm-strategy][x]\n',
      '',
    ],
    ['srun --vm-st best-effort prog; srun --vm-s x prog', '[--vm-strategy=best-effort][prog]\n[--vm-s=x][prog]\n', ''],
    ['srun --siteopt /etc/passwd --prolog=/x prog; echo $?', '1\n', hidden],
    ['srun --siteopt -- --prol /x prog; echo $?', '1\n', hidden],
    ['srun --siteopt /etc/passwd -J -- --ep=/x prog; echo $?', '1\n', hidden],
    ['srun a : --epilog=/x b; echo $?', '1\n', hidden],
    ['srun --siteopt a -- prog --prolog=x', '[--siteopt=a][prog][--prolog=x]\n', ''],
    ['srun --siteopt /etc/passwd -- --prolog=x', '[--siteopt][/etc/passwd][--][--prolog=x]\n', ''],
    [
      'srun --siteopt=a prog --prolog=x; srun prog --epilog=x',
      '[--siteopt=a][prog][--prolog=x]\n[prog][--epilog=x]\n',
      '',
    ],
    ['srun -i nosuch x; echo $?', '1\n', 'srun: error: Could not open stdin file: No such file or directory\n'],
  ] as const
  for (const [script, stdout, stderr] of cases) {
    const place = mkdtempSync(join(folder, 'srun-'))
    const r = task(`cd ${place}; ${script}`)
    await r.ended
    t.equal(r.stdout, stdout, script)
    t.equal(r.stderr, stderr, script)
  }
  await until('the files’ end', () => readdirSync(calls).length === 0)
})

t.test('sbcast reads its source here; srun --bcast copies and then runs the copy', async (t) => {
  writeFileSync(join(folder, 'source'), 'the bytes\n', { mode: 0o750 })
  const r = task(`cd ${folder}; VMRM_TEST_DO=cat sbcast -f source /tmp/there`)
  await r.ended
  t.match(
    r.stdout,
    /^the bytes\n\[first\]\[--source-mode=0750\]\[--source-times=\d+,\d+\]\[-f\]\[source\]\[\/tmp\/there\]\n$/,
  )
  const relative = task(`cd ${folder}; VMRM_TEST_DO="cat >/dev/null; shift 3" sbcast source there`)
  await relative.ended
  t.equal(relative.stdout, `[source][${folder}/there]\n`, 'a place in the folder here')
  const help = task('sbcast --help')
  await help.ended
  t.equal(help.stdout, '[first][--help]\n')
  const few = task('sbcast -f one; sbcast nosuch /tmp/x; echo $?')
  await few.ended
  t.equal(few.stdout, '[first][-f][one]\n255\n')
  t.equal(few.stderr, "sbcast: error: Can't open `nosuch`: No such file or directory\n")
  const both = task(`cd ${folder}; srun --bcast=/tmp/copy -N2 ./tool arg`, { env: { VMRM_TEST_DO: 'cat > /dev/null' } })
  await both.ended
  t.match(
    both.stdout,
    /^\[first\].*\[--force\]\[\.\/tool\]\[\/tmp\/copy\]\n\[--nodes=2\]\[--job-name=tool\]\[\/tmp\/copy\]\[arg\]\n$/,
  )
  const empty = task(`cd ${folder}; srun --bcast= ./tool`, { env: { VMRM_TEST_DO: 'cat > /dev/null' } })
  await empty.ended
  t.match(empty.stdout, /\n(\[--job-name=tool\])?\[\/tmp\/slurm_bcast_7\.\d+\]\n$/)
})

t.test('a folder that only the guest has is carried along', async (t) => {
  const inside = 'pwd; echo "$VMRM_GUEST_CWD"; set --'
  const r = task(
    'mkdir /run/only && cd /run/only && srun x; cd /usr && srun -D only x; srun -D /run/only x; srun -D /usr x; cd /run/only; squeue -c "pwd"',
    { env: { VMRM_TEST_DO: inside } },
  )
  await r.ended
  t.equal(r.stdout, '/tmp\n/run/only\n\n/tmp\n/usr/only\n\n/tmp\n/run/only\n\n/usr\n\n\n/tmp\n')
  const waits = task(
    'cd /usr; sbatch --wait --chdir=/run/only --wrap x; sbatch -W -D /run/only --wrap x; sbatch --wait --chdir=/usr --wrap x',
    { env: { VMRM_TEST_DO: `echo "$1"; ${inside}` } },
  )
  await waits.ended
  const carried = '/tmp\n/run/only\n\n'
  t.equal(waits.stdout, `--wait\n${carried}-W\n${carried}--wait\n/usr\n\n\n`, 'of sbatch --wait has no value')
})

t.test('salloc runs its command in the guest, with what the host’s salloc adds', async (t) => {
  // Like the real one: it says something, runs what it is given with more variables, and ends with its code.
  writeFileSync(
    join(folder, 'salloc'),
    `#!/bin/sh\necho "salloc: Granted" >&2; printf "[%s]" "$1" "$2" >&2; while [ "$1" != "\${1#-}" ]; do [ "$1" != --job-name ] || shift; shift; done
[ -z "$LARGE" ] || export LARGER="$(head -c 70000 /dev/zero | tr "\\0" x)"
export SLURM_JOB_ID=99 SLURM_NEW="a b"; unset TO_GO
"$@" & pid=$!; trap 'kill -USR1 $pid' USR1; wait $pid; code=$?; [ $code -lt 128 ] || { wait $pid; code=$?; }; echo "salloc: Relinquishing $code" >&2; exit $code\n`,
    { mode: 0o755 },
  )
  const inner = 'echo "$SLURM_JOB_ID|$SLURM_NEW|$TO_GO|$PATH"; ls -d /run/vmrm/call.sock; exit 6'
  const r = task(`salloc -n1 --time 5 sh -c '${inner}'; echo $?; squeue -c "ls ${calls}"`, { env: { TO_GO: 'x' } })
  await r.ended
  t.equal(r.stdout, `99|a b||${bin}:/usr/bin:/bin\n/run/vmrm/call.sock\n6\n`)
  t.equal(r.stderr, 'salloc: Granted\n[--ntasks=1][--time=5]salloc: Relinquishing 6\n')
  const signalled = task(
    'salloc -N1 --x sh -c "trap \\"echo told; exit 5\\" USR1; echo ready; while :; do sleep 0.02; done" & pid=$!; read a; kill -USR1 $pid; wait $pid; echo $?',
    { stdin: 'pipe' },
  )
  await printed(signalled, 'ready')
  signalled.child.stdin?.end('go\n')
  await signalled.ended
  t.equal(signalled.stdout, 'ready\ntold\n5\n')
  const killed = task('salloc -N1 --x sh -c "kill -KILL \\$\\$"; salloc -N1 --x nosuchcommand; echo $?')
  await killed.ended
  t.match(killed.stderr, 'Relinquishing 137\n', 'salloc sees the signal, of which it makes what it likes')
  t.match(killed.stderr, 'salloc: error: _fork_command: Unable to find command "nosuchcommand"\n')
  t.equal(killed.stdout, '1\n')
  const last = task('salloc -J; echo $?', { env: { SHELL: '/bin/true' } })
  await last.ended
  t.equal(last.stdout, '0\n', 'an option without its value does not take the host’s program for one')
  const large = task('salloc -N1 echo started; echo $?', { env: { LARGE: 'yes' } })
  await large.ended
  t.equal(large.stdout, '1\n')
  t.match(large.stderr, /vmrm: the variables that salloc sets for its command are larger than 64 KiB together/)
  const none = task('salloc -N1 --no-shell; echo $?')
  await none.ended
  t.match(none.stderr, /Granted/)
})

t.test('a caller that is killed takes its command along, a server that is killed its caller', async () => {
  const marker = `4${process.pid}1`
  const r = task(`squeue -c "sleep ${marker}" & pid=$!; read a; kill -9 $pid; read b`, { stdin: 'pipe' })
  await until('the command', () => alive(`sleep\0${marker}`))
  r.child.stdin?.write('now\n')
  await until('its end', () => !alive(`sleep\0${marker}`))
  r.child.stdin?.end('\n')
  await r.ended
  const stubborn = `5${process.pid}2`
  const s = task(`squeue -c "trap : TERM; while :; do sleep ${stubborn}; done"`)
  await until('the command', () => alive(`sleep\0${stubborn}`))
  s.child.kill('SIGKILL')
  await s.ended
  await until('its end, though it ignores TERM', () => !alive(stubborn))
})

t.test('a task that ends leaves none of its commands behind', async (t) => {
  const marker = `6${process.pid}3`
  const r = task(`squeue -c "echo up; sleep ${marker}" & sleep 0.01; while ! [ -e ${folder}/up ]; do sleep 0.02; done`)
  await until('the command', () => alive(`sleep\0${marker}`))
  writeFileSync(join(folder, 'up'), '')
  t.match(await r.ended, { code: 0 })
  await until('its end', () => !alive(`sleep\0${marker}`))
})

t.test('vmrmd restarts while commands run: nothing is lost or doubled', async (t) => {
  const count = 4000
  const r = task(
    `squeue -c 'i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo line $i; done; read x; exit 9'; echo $? ; sattach -c 'cat | md5sum'`.replace(
      'squeue -c',
      'sattach -c',
    ),
    { stdin: 'pipe' },
  )
  await printed(r, 'line 100\n')
  for (let i = 0; i < 3; i++) {
    const before = rig.requests.length
    await rig.restartDaemon()
    await until('the task again', () => rig.requests.length > before)
  }
  r.child.stdin?.write('done\n')
  r.child.stdin?.end('rest')
  t.match(await r.ended, { code: 0 })
  const lines = r.stdout.split('\n')
  t.same(
    lines.slice(0, count),
    Array.from({ length: count }, (_, i) => `line ${i + 1}`),
  )
  t.equal(lines[count], '9')
})

t.test('who may call what', async (t) => {
  const refused = task('bash -c id; echo $?')
  await refused.ended
  t.equal(refused.stdout, '1\n')
  t.equal(refused.stderr, 'vmrm: bash is none of Slurm’s commands here\n')
  const other = task('setpriv --reuid=65534 --regid=65534 --clear-groups squeue -c id; echo $?')
  await other.ended
  t.equal(other.stdout, '1\n')
  t.equal(other.stderr, "vmrm: Slurm's commands work in this VM for the job's user only\n")
  const idle = `const { connect } = require('node:net'); let up = 0; let gone = 0
    for (let i = 0; i < 70; i++) connect('/run/vmrm/call.sock', () => ++up === 70 && console.log('connected'))
      .on('close', () => ++gone === 70 && console.log('gone')).on('error', () => {}).resume()`
  const strangers = task(`setpriv --reuid=65534 --regid=65534 --clear-groups "$1" -e "$2"; squeue -c "echo works"`, {
    args: [process.execPath, idle],
  })
  await strangers.ended
  t.equal(strangers.stdout, 'connected\ngone\nworks\n', 'who is not the user is turned away without having asked')
})

t.test('places of commands that still end are not in the way of new ones', async (t) => {
  const stubborn = `squeue -c 'trap "" TERM; echo up; while :; do sleep 0.1; done'`
  const r = task(
    `i=0; while [ $i -lt 64 ]; do i=$((i+1)); ${stubborn} & all="$all $!"; done; read x; kill -9 $all; squeue -c "echo new"`,
    {
      stdin: 'pipe',
    },
  )
  await until('all of them', () => r.stdout.length === 64 * 3, 60_000)
  r.child.stdin?.end('go\n')
  await r.ended
  t.equal(r.stdout, `${'up\n'.repeat(64)}new\n`)
})

t.test('a spec that lies writes nowhere but into its own folder, and runs nothing but the command', async (t) => {
  const text = (value: string) => Buffer.from(value, 'latin1').toString('hex')
  const file = (argument: number, offset: number, bytes = 'x') => {
    const head = Buffer.alloc(8)
    head.writeUInt32LE(argument, 0)
    head.writeUInt32LE(offset, 4)
    return head.toString('hex') + text(bytes)
  }
  const own = [1, text('sbatch')] as const
  const env = [2, text('VMRM_TEST_DO=')] as const
  const lie = async (spec: readonly (readonly [number, string])[], command = 'sbatch', bytes?: string) => {
    const caller = join(import.meta.dirname, 'hostile-caller.ts')
    const words = [JSON.stringify(spec), command, ...(bytes === undefined ? [] : [bytes])]
    const r = task('exec "$@"', { args: [process.execPath, caller, ...words] })
    await r.ended
    return r.stdout
  }
  const noFile = 'error: the guest names a file that cannot be one'
  t.match(
    await lie([own, env, [1, text(`../../${'../'.repeat(9)}etc/vmrm-x`)], [11, file(1, 0)]]),
    /^\[.*\/0\/vmrm-x\]\n$/,
  )
  t.match(await lie([own, env, [1, text('/etc/vmrm-x')], [11, file(1, 0)]]), /^\[.*\/0\/vmrm-x\]\n$/)
  t.notOk(existsSync('/etc/vmrm-x'))
  for (const name of ['..', '.', '', 'a/', 'a/..', `/${'n'.repeat(256)}`])
    t.match(await lie([own, env, [1, text(name)], [11, file(1, 0)]]), noFile, JSON.stringify(name.slice(0, 9)))
  for (const [argument, offset] of [
    [0, 0],
    [2, 0],
    [4_294_967_295, 0],
    [1, 4],
    [1, 4_294_967_295],
  ] as const)
    t.match(await lie([own, env, [1, text('abc')], [11, file(argument, offset)]]), noFile, `${argument} ${offset}`)
  const twice = [1, text('abc')] as const
  t.match(await lie([own, env, twice, [11, file(1, 0)], [11, file(1, 0)]]), /\/1\/abc\]\n$/, 'one argument, two files')
  for (const [why, spec] of Object.entries({
    'five files': [own, env, twice, ...Array.from({ length: 5 }, () => [11, file(1, 0)] as const)],
    'a file without a head': [own, env, twice, [11, '00']],
    'NUL in an argument': [own, env, [1, '610062']],
    'no argument': [env],
    'a script': [own, env, [5, text('/tmp/x')], [6, text('x')]],
    CPUs: [own, env, [8, text('0')]],
    'a wire': [own, env, [12, `${text('fd')}00${text('5')}`]],
  } as Record<string, (readonly [number, string])[]>))
    t.match(await lie(spec), /^error: /, why)
  t.match(await lie([], 'sbatch', 'ffff0000ffffffff'), /^error: /, 'a field longer than the spec')
  t.match(await lie([], 'sbatch', '00'.repeat(20_000)), /^error: /, 'zeros')
  for (const name of ['', 'x'.repeat(200)])
    t.equal(await lie([own, env], name), 'closed\n', `a name of ${name.length} letters`)
  const salloc = (words: string[]) =>
    lie([[1, text('salloc')], ...words.map((word) => [1, text(word)] as const)], 'salloc')
  for (const words of [['id'], ['--', 'id'], ['-n', '1'], ['-']])
    t.match(await salloc(words), "error: salloc's command must run in the VM", words.join(' '))
  const shell = (name: string) =>
    lie(
      [
        [1, text(name)],
        [1, text('-c')],
        [1, text('echo $0')],
      ],
      'squeue',
    )
  t.equal(await shell('bash'), '/bin/sh\n', 'another name is not taken')
  t.equal(await shell('./squeue'), './squeue\n')
  await until('the files’ end', () => readdirSync(calls).length === 0)
})

t.test('64 commands at a time; more wait for their turn', async (t) => {
  const r = task('i=0; while [ $i -lt 80 ]; do i=$((i+1)); squeue -c "echo x; sleep 0.2" & done; wait')
  t.match(await r.ended, { code: 0 })
  t.equal(r.stdout, 'x\n'.repeat(80))
  t.equal(r.stderr, '')
})
