// What sbatch, srun and salloc refuse before there is a job, and that names are data on every way through vmrm.
import t from 'tap'
import { trySubmit } from '../support/batch.ts'
import { withCluster } from '../support/cluster.ts'
import { withImages } from '../support/test-images.ts'

const images = [
  {
    name: 'of-bob',
    changes: [['<access policy="all"/>', '<access policy="listed"><user name="bob"/></access>']] as const,
  },
]

/** Options, who asks, and what must be read. */
const refusals = [
  [['--vm-image=nope'], 'alice', /there is no image nope on this cluster[\s\S]*vmrm image list/],
  [['--vm-image=tiny@7'], 'alice', /image tiny has revision [0-9a-f]+, not 7/],
  [['--vm-image=of-bob'], 'alice', /user alice may not use image of-bob[\s\S]*Ask the administrators/],
  [['--vm-image=tiny', '--vm-per-node=17'], 'alice', /allows 16 VMs a node; 17 were asked for[\s\S]*--vm-per-node/],
  [['--vm-image=tiny', '--vm-per-node=0'], 'alice', /--vm-per-node: '0' is not a number/],
  [['--vm-image=tiny', '--vm-script=both'], 'alice', /--vm-script: 'both'/],
  [['--vm-image=tiny', '--vm-checkpoint'], 'alice', /checkpoint/],
  [['--vm-image='], 'alice', /--vm-image/],
  [['--vm-image=../../etc/passwd'], 'alice', /'..\/..\/etc\/passwd' is not the name of an image/],
  [['--vm-image=a b'], 'alice', /'a b' is not the name/],
  [['--vm-image=$(touch /home/alice/pwned)'], 'alice', /is not the name/],
  [['--vm-image=tiny;touch /home/alice/pwned'], 'alice', /is not the name/],
  [['--vm-image=tiny\nSPANK_VMRM_IMAGE=x'], 'alice', /'tiny\?SPANK_VMRM_IMAGE=x' is not the name/],
  [[`--vm-image=${'x'.repeat(300)}`], 'alice', /is not the name/],
] as const

t.test('sbatch, srun and salloc refuse what cannot be, before there is a job, and say why', async (t) => {
  await withCluster(t, async (cluster) => {
    await withImages(cluster, images, async () => {
      const before = (await cluster.run(['squeue', '--all', '--states=all', '--noheader', '--format=%A'])).stdout
      for (const [options, user, expected] of refusals) {
        const found = await trySubmit(cluster, 'hostname', { user, arguments: options })
        const name = options.join(' ').slice(0, 60)
        t.not(found.exitCode, 0, name)
        t.equal(found.stdout, '', name)
        t.match(found.stderr, expected, name)
      }
      for (const program of ['srun', 'salloc']) {
        const found = await cluster.run([program, '--vm-image=of-bob', 'hostname'], { user: 'alice' })
        t.not(found.exitCode, 0, program)
        t.match(found.stderr, /may not use image of-bob/, program)
      }
      const fromEnvironment = await cluster.run(['env', 'VMRM_IMAGE=nope', 'srun', 'hostname'], { user: 'alice' })
      t.match(fromEnvironment.stderr, /there is no image nope/)
      const after = (await cluster.run(['squeue', '--all', '--states=all', '--noheader', '--format=%A'])).stdout
      t.equal(after, before, 'no job was made')
      t.equal((await cluster.run(['ls', '/home/alice/pwned'])).stdout, '', 'nothing ran')
    })
  })
})

t.test('names of jobs, arguments and environment values are data all the way', async (t) => {
  await withCluster(t, async (cluster) => {
    // What slurmctld prints of such a job looks like a second allocation, of all CPUs.
    const jobName = 'x\n     Nodes=n[1-2] CPU_IDs=0-7 Mem=6000 GRES=\nJobId=1 JobName=$(touch /home/alice/pwned)'
    const strange = ['$(touch /home/alice/pwned)', ';touch /home/alice/pwned', `a 'b' "c"`, 'line\nline', '\\', '*', '']
    const script = `#!/bin/sh\nprintf '<%s>' "$@"\nprintf '\\n{%s}\\n[%s]\\n' "$STRANGE" "$SLURM_JOB_NAME"\nnproc\n`
    await cluster.run(['sh', '-c', 'cat > ~/strange.sh'], { user: 'alice', input: script })
    const sbatch = ['sbatch', '--wait', '--output=/home/alice/strange.out', '--vm-image=tiny', '--cpus-per-task=2']
    const options = [`--job-name=${jobName}`, `--comment=${strange.join(' ')}`, '--mem=500', 'strange.sh', ...strange]
    const submitted = await cluster.run(['env', `STRANGE=${strange.join('|')}`, ...sbatch, ...options], {
      user: 'alice',
      timeoutMs: 120_000,
    })
    t.equal(submitted.exitCode, 0, submitted.stderr)
    const { stdout } = await cluster.run(['cat', '/home/alice/strange.out'])
    const expected = [strange.map((word) => `<${word}>`).join(''), `{${strange.join('|')}}`, `[${jobName}]`, '2', '']
    t.equal(stdout, expected.join('\n'), 'two vCPUs, and every byte as it was given')
    t.equal((await cluster.run(['ls', '/home/alice'])).stdout.includes('pwned'), false, 'nothing ran')
    await cluster.run(['rm', '-f', 'strange.sh', 'strange.out'], { user: 'alice' })
  })
})
