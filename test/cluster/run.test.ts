// `cluster run` passes everything through; plain Slurm jobs work as on a site. Uses the shared cluster.
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { withCluster } from '../support/cluster.ts'
import { waitFor } from './wait.ts'

const script = join(import.meta.dirname, 'cluster')
t.setTimeout(240_000)

t.test('cluster run', { timeout: 120_000 }, (t) =>
  withCluster(t, async () => {
    const run = (argv: string[], input: string | Buffer = '') =>
      execa(script, ['run', ...argv], { reject: false, input, encoding: 'buffer', stripFinalNewline: false })

    await t.test('passes binary stdin to stdout, and keeps stderr apart', async (t) => {
      const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7 + (i >> 8)) % 256))
      const found = await run(['--node', 'n1', '--', 'sh', '-c', 'cat; echo aside >&2'], bytes)
      t.ok(Buffer.from(found.stdout).equals(bytes))
      t.equal(Buffer.from(found.stderr).toString(), 'aside\n')
    })

    for (const [how, text, wanted] of [
      ['an exit code', 'exit 7', { exitCode: 7 }],
      ['the highest exit code', 'exit 255', { exitCode: 255 }],
      ['the end by a signal', 'kill -9 $$', { signal: 'SIGKILL' }],
    ] as const) {
      await t.test(`passes on ${how}`, async (t) => t.match(await run(['--', 'sh', '-c', text]), wanted))
    }

    await t.test('forwards a signal to the command', async (t) => {
      // A trap interrupts `wait` at once; it ends what would keep the pipe open.
      const text = 'trap "kill \\$!; echo got; exit 5" TERM; sleep 300 & echo ready; wait'
      const child = execa(script, ['run', '--', 'bash', '-c', text], {
        reject: false,
        stdin: 'ignore',
        timeout: 90_000,
      })
      child.stdout.once('data', () => child.kill('SIGTERM'))
      t.match(await child, { exitCode: 5, stdout: 'ready\ngot' })
    })

    await t.test('kills the command when it is killed itself', async (t) => {
      const child = execa(script, ['run', '--node', 'n2', '--', 'sh', '-c', 'echo $$; exec sleep 87654'], {
        reject: false,
        stdin: 'ignore',
      })
      child.stdout.once('data', () => child.kill('SIGKILL'))
      await child
      const wait = 'for i in $(seq 100); do pgrep -f "^sleep 87654" >/dev/null || exit 0; sleep 0.05; done; exit 1'
      t.equal((await run(['--node', 'n2', '--', 'sh', '-c', wait])).exitCode, 0)
    })

    await t.test('takes arguments as they are', async (t) => {
      const odd = ['a b', "it's", '"', '$(id)', ';', '*', '', 'line\nbreak', '--node', '-x']
      const found = await run(['--', 'printf', '%s\\0', ...odd])
      t.same(Buffer.from(found.stdout).toString().split('\0').slice(0, -1), odd)
    })

    await t.test('gives a user a login: groups, home, and nothing of the caller', async (t) => {
      const found = await execa(script, ['run', '--user', 'alice', '--', 'sh', '-c', 'id -nG; pwd; env | sort'], {
        env: { SECRET: '1', SLURM_JOB_ID: '9' },
      })
      const [groups, home, ...environment] = found.stdout.split('\n')
      t.equal(groups, 'alice proj')
      t.equal(home, '/home/alice')
      const names = environment.map((line) => line.split('=')[0]).filter((name) => name !== 'TERM' && name !== '_')
      t.same(names, ['HOME', 'LANG', 'LOGNAME', 'PATH', 'PWD', 'SHELL', 'USER'])
    })

    for (const [argv, complaint] of [
      [['--'], /run needs -- and a command/],
      [['--node', 'n77', '--', 'true'], /there is no host n77/],
      [['--user', 'nobody-such', '--', 'true'], /nobody-such/],
    ] as const) {
      await t.test(`complains about ${argv.join(' ')}`, async (t) => {
        const found = await run([...argv])
        t.not(found.exitCode, 0)
        t.match(Buffer.from(found.stderr).toString(), complaint)
      })
    }
  }),
)

t.test('Slurm on the cluster', { timeout: 120_000 }, (t) =>
  withCluster(t, async (cluster) => {
    await t.test('runs a step on two nodes as the user, homes shared', async (t) => {
      const text = 'echo $(hostname) $(id -u) $(id -nG) >~/step-$SLURM_PROCID; cat ~/step-$SLURM_PROCID'
      const found = await cluster.run(['srun', '-N2', '-n2', '-l', 'sh', '-c', text], { user: 'bob' })
      t.same(found.stdout.split('\n').sort(), ['', '0: n1 2002 bob proj', '1: n2 2002 bob proj'], found.stderr)
      t.match(await cluster.run(['sh', '-c', 'cat step-?'], { user: 'bob' }), {
        stdout: 'n1 2002 bob proj\nn2 2002 bob proj\n',
      })
    })

    await t.test('reports the exit code of a batch job, and its output', async (t) => {
      const found = await cluster.sbatchWait('#!/bin/sh\nsrun -l hostname\nexit 7\n', { arguments: ['-N2'] })
      t.equal(found.exitCode, 7)
      t.same(found.output.split('\n').sort(), ['', '0: n1', '1: n2'])
    })

    await t.test('holds a job to its memory', async (t) => {
      const limit =
        'cat /sys/fs/cgroup/memory$(sed -n "s/.*:memory:\\(.*\\)\\/step_.*/\\1/p" /proc/self/cgroup)/memory.limit_in_bytes'
      const found = await cluster.run(['srun', '--mem=300', 'sh', '-c', limit], { user: 'alice' })
      t.equal(found.stdout, `${300 * 1024 * 1024}\n`, found.stderr)
    })

    await t.test(
      'lets a job of main take the place of one of low, which is queued again',
      { timeout: 90_000 },
      async (t) => {
        const low = await cluster.run(
          [
            'sbatch',
            '--parsable',
            '-p',
            'low',
            '-N2',
            '--exclusive',
            '--requeue',
            '-o',
            '/dev/null',
            '--wrap',
            'sleep 300',
          ],
          { user: 'carol' },
        )
        const id = low.stdout.trim()
        const state = async () => (await cluster.run(['squeue', '-h', '-j', id, '-o', '%T'])).stdout.trim()
        await until(async () => (await state()) === 'RUNNING')
        const found = await cluster.run(['srun', '-N1', '--exclusive', 'hostname'], { user: 'alice' })
        t.equal(found.exitCode, 0, found.stderr)
        // The other node of the low one may still be at its end.
        const details = async () => (await cluster.run(['scontrol', '--oneliner', 'show', 'job', id])).stdout
        await until(async () => /JobState=(PENDING|RUNNING) .* Restarts=1 /.test(await details()))
        t.pass('it is queued again')
        t.equal((await cluster.run(['scancel', id])).exitCode, 0)
        await cluster.waitUntilIdle(60_000)
      },
    )
  }),
)

async function until(condition: () => Promise<boolean>): Promise<void> {
  if (!(await waitFor(condition, { timeoutMs: 60_000, intervalMs: 100 }))) throw new Error('it did not come to that')
}
