// stdin, stdout and stderr of tasks in a VM: every byte, in order, apart, as they are written. One VM serves all of it.
import { createHash, type Hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import t from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { until } from '../support/until.ts'

t.setTimeout(600_000)

const pieceBytes = 1 << 20
const pieces = 100

interface Running {
  readonly process: ReturnType<Jobs['cluster']['start']>
  readonly ended: Promise<unknown[]>
  stdoutBytes: number
  readonly digest: Hash
  text: string
  stderr: string
}

/** A step of a job that holds a VM; the caller reads `process` further. */
function startStep(jobs: Jobs, id: number, command: readonly string[], options: readonly string[] = []): Running {
  const argv = ['srun', `--jobid=${id}`, '--nodes=1', '--ntasks=1', '--overlap', ...options, ...command]
  const process = jobs.cluster.start(argv, { user: 'alice' })
  const running: Running = {
    process,
    ended: once(process, 'close'),
    stdoutBytes: 0,
    digest: createHash('sha256'),
    text: '',
    stderr: '',
  }
  process.stdout?.on('data', (chunk: Buffer) => {
    running.stdoutBytes += chunk.length
    running.digest.update(chunk)
    if (running.text.length < 100_000) running.text += chunk.toString('latin1')
  })
  process.stderr?.on('data', (chunk: Buffer) => {
    running.stderr += chunk.toString()
  })
  return running
}

t.test('streams of a task in a VM', (t) =>
  withJobs(t, 'streams', async (jobs) => {
    const id = await jobs.submit('#!/bin/sh\necho there\nexec sleep 600\n', {
      arguments: ['--vm-image=tiny', '--mem=700'],
    })
    await jobs.awaitOutput(id, 'there')
    t.equal(jobs.output(id), 'there\n', "a batch script's output is there while it runs")

    await t.test('output comes while the task runs, and input reaches it while it runs', async (t) => {
      const step = startStep(jobs, id, [
        'sh',
        '-c',
        'echo first; read line; echo "got $line" >&2; read line; echo "$line"',
      ])
      await until('the first line', () => step.text === 'first\n', 60_000)
      t.equal(step.process.exitCode, null)
      step.process.stdin?.write('question\n')
      await until('the answer on stderr', () => step.stderr === 'got question\n', 60_000)
      step.process.stdin?.end('last\n')
      t.same(await step.ended, [0, null])
      t.equal(step.text, 'first\nlast\n')
    })

    await t.test('every byte value passes both ways, stdout and stderr apart', async (t) => {
      const bytes = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)), randomBytes(300_000)])
      const step = startStep(jobs, id, ['sh', '-c', 'cat; echo apart >&2'])
      step.process.stdin?.end(bytes)
      t.same(await step.ended, [0, null])
      t.equal(step.digest.digest('hex'), createHash('sha256').update(bytes).digest('hex'))
      t.equal(step.stderr, 'apart\n')
    })

    await t.test('100 MB arrive intact in each direction', async (t) => {
      const piece = randomBytes(pieceBytes)
      const wanted = createHash('sha256')
      for (let i = 0; i < pieces; i++) wanted.update(piece)
      const step = startStep(jobs, id, ['cat'])
      for (let i = 0; i < pieces; i++) {
        if (step.process.stdin?.write(piece) === false) await once(step.process.stdin, 'drain')
      }
      step.process.stdin?.end()
      t.same(await step.ended, [0, null])
      t.equal(step.stdoutBytes, pieces * pieceBytes)
      t.equal(step.digest.digest('hex'), wanted.digest('hex'))
    })

    await t.test('a slow reader slows the writer and loses nothing', async (t) => {
      const count = 150
      // The writer tells on stderr how far it is; stdout is not read at first.
      const writer = `i=0; while [ $i -lt ${count} ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i >&2; done`
      const step = startStep(jobs, id, ['sh', '-c', writer])
      step.process.stdout?.pause()
      let seen = ''
      let since = performance.now()
      await until(
        'the writer to stand still',
        () => {
          if (step.stderr !== seen) since = performance.now()
          seen = step.stderr
          return seen !== '' && performance.now() - since > 3_000
        },
        90_000,
      )
      const reached = Number(seen.trim().split('\n').at(-1))
      t.ok(reached < count, `it stands after ${reached} of ${count} pieces`)
      step.process.stdout?.resume()
      t.same(await step.ended, [0, null])
      t.equal(step.stdoutBytes, count * 65536)
    })
    await jobs.alice(['scancel', String(id)])
    await jobs.ended(id)
  }),
)
