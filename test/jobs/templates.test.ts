// VMs of real jobs from templates: made once a node and size, used by all who may, given up when what they are of changes.
// What happened is read from the nodes' lists and logs; nothing depends on how long it took.
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { type TestImage, withImages } from '../support/test-images.ts'

t.setTimeout(600_000)

interface Listed {
  readonly node: string
  readonly templates: readonly { image: string; memoryMib: number; uses: number; stale?: string; key: string }[]
}

const script = '#!/bin/sh\necho "host $(hostname) random $(head -c16 /dev/urandom | od -An -tx1 | tr -d " ")"\n'

function observe({ cluster, run, alice }: Jobs, image: string) {
  const command = async (...argv: string[]) => {
    const { exitCode, stdout, stderr } = await cluster.run(['vmrm', 'image', ...argv])
    return { exitCode, stdout, stderr }
  }
  return {
    command,
    alice,
    /** A job of that image with VMs of 200 MiB, and how many of its VMs came up in which way. */
    async job(node: string, options: { vms?: number; image?: string } = {}) {
      const { vms = 1 } = options
      const argv = [`--vm-image=${options.image ?? image}`, `--vm-per-node=${vms}`, `-n${vms}`, '-w', node]
      const body = vms === 1 ? script : `#!/bin/sh\nsrun sh -c '${script.split('\n')[1]}'\n`
      const { id, output, fields } = await run(body, { arguments: [...argv, `--mem=${vms * 328}`] })
      t.equal(fields.JobState, 'COMPLETED', output)
      const log = readFileSync(join(cluster.layout.folder, 'log', node, 'vmrmd.log'), 'utf8')
      const count = (how: string) =>
        [...log.matchAll(new RegExp(`vm\\.ready vm=j${id}r0v\\d+ how=${how} `, 'g'))].length
      return { lines: output.trim().split('\n').sort(), clones: count('clone'), boots: count('boot'), log, id }
    },
    async listed(): Promise<readonly Listed[]> {
      const { stdout } = await command('templates', '--json')
      const all = JSON.parse(stdout) as readonly Listed[]
      return all.map(({ node, templates }) => ({ node, templates: templates.filter((each) => each.image === image) }))
    },
  }
}

t.test('VMs of jobs come from templates', async (t) => {
  await withJobs(t, 'templates', async (jobs) => {
    const { layout } = jobs.cluster
    const master = join(layout.folder, 'templates-master.qcow2')
    const copyMaster = () => copyFileSync(join(layout.images, 'tiny.qcow2'), master)
    copyMaster()
    const changes = [[/<master path="[^"]*"/, `<master path="${master}"`]] as const
    const images: TestImage[] = [
      { name: 'cloned', changes },
      { name: 'booted', changes: [['<template use="auto"', '<template use="never"']] },
    ]
    const { command, alice, job, listed } = observe(jobs, 'cloned')
    try {
      await withImages(jobs.cluster, images, async () => {
        const first = await job('n1')
        t.match(first, { clones: 1, boots: 0 }, 'the first job has a template made, and its VM is a clone')
        t.match(first.log, new RegExp(`run\\.clones run=j${first.id}r0 .*how=made`))
        t.match(await listed(), [{ templates: [{ memoryMib: 200, uses: 1 }] }, { templates: [] }])

        const second = await job('n1', { vms: 3 })
        t.match(second, { clones: 3, boots: 0 }, 'the second one only clones')
        t.equal(new Set(second.lines).size, 3)
        const randoms = [...first.lines, ...second.lines].map((line) => /random ([0-9a-f]{32})$/.exec(line)?.[1])
        t.equal(new Set(randoms).size, 4, `no two drew the same bytes: ${randoms}`)
        t.match(await listed(), [{ templates: [{ memoryMib: 200, uses: 2 }] }, { templates: [] }])

        t.match(await job('n1', { image: 'booted' }), { clones: 0, boots: 1 }, 'an image that says never boots')

        const refused = await alice(['vmrm', 'image', 'templates'])
        t.match(refused.stderr, /may not send list-templates/, 'users see none')
        const warmed = await command('warm', 'cloned', '--node', 'n2', '--memory', '200')
        t.match(warmed, { exitCode: 0, stdout: /^n2: cloned, 1 vCPU, 200 MiB: made in \d+ s$/m })
        const elsewhere = await job('n2')
        t.match(elsewhere, { clones: 1, boots: 0 })
        t.match(elsewhere.log, new RegExp(`run\\.clones run=j${elsewhere.id}r0 .*how=found`), 'warmed ahead')
        t.match(
          (await command('warm', 'cloned', '--node', 'n2', '--memory', '9999')).stderr,
          /at most 4096 are allowed/,
        )
        t.match((await command('warm', 'nosuch', '--node', 'n2', '--memory', '200')).stderr, /there is no image nosuch/)
        t.match((await command('warm', 'nosuch', '--node', 'n2')).stderr, /there is no image nosuch/)
        t.match((await command('forget', 'nosuch')).stderr, /the catalogue has no such image/)

        rmSync(master)
        copyMaster()
        const stale = await listed()
        for (const { templates } of stale) t.match(templates, [{ stale: /master has changed/ }])
        t.match(await job('n1'), { clones: 1, boots: 0 })
        const [n1] = await listed()
        t.same(
          n1?.templates.map((each) => each.stale === undefined).sort(),
          [false, true],
          'the new master has a new one',
        )
        t.match(await command('forget', 'cloned'), {
          exitCode: 0,
          stdout: /n1: 2 removed\n?.*\nn2: 1 removed|n2: 1 removed\n.*n1: 2 removed/s,
        })
        t.match(await listed(), [{ templates: [] }, { templates: [] }])
      })
    } finally {
      await command('forget', 'cloned')
      rmSync(master, { force: true })
    }
  })
})
