// Runs test files, each in a process of its own on the Node that runs this: tap is the library, its runner is not needed
// (its TypeScript loader type-checks every file again). Closes with a line `N passed, N failed`.
import { spawn, spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'

interface Result {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly seconds: number
  readonly output: string
}

const parallel = 2
const fileTimeoutMs = 900_000
const killAfterMs = 30_000
/** What runs beside what: much of a test with a cluster is waiting, so more of those run at a time than there are cores. */
type Lane = 'plain' | 'cluster' | 'alone'
const clustersAtOnce = process.env.VMRM_CLUSTER_DIR === undefined ? 3 : 1
/** These look at the whole machine, or at how long something takes on it; Debian's boot takes all of two cores for a minute. */
const alone = /^test\/(cluster\/lifecycle|images\/(build|debian))\./
/** These boot VMs without any cluster. */
const heavy = /^test\/images\//
/** Begun first, in this order: whatever is last should not be long. */
const longest = [
  /^test\/(crash\/kill-points|transparent\/mpi)\b/,
  /^test\/(crash|batches|transparent|jobs\/(batch|commands|defaults|failures-node|interactive|isolation|placement|without-epilogs))\b/,
]
/** They take a cluster that is up, and leave it up for the next; other tests with a cluster bring up their own. */
const sharesCluster = /\bwithCluster\(/

const cluster = 'test/cluster/cluster'
const files = chooseFiles(process.argv.slice(2))
const results: Result[] = []
/** Folder, and whether it was up before. */
const sharedClusters = new Map<string, boolean>()
const ofLane = (lane: Lane): string[] => files.filter((file) => laneOf(file) === lane)
await runAll(ofLane('plain'), parallel)
await runAll(ofLane('cluster'), clustersAtOnce)
const stillUp = [...takeDown()]
await runAll(ofLane('alone'), 1)
await runAgain()
stillUp.push(...takeDown())
for (const folder of stillUp) process.stdout.write(`FAIL the shared test cluster ${folder} cannot be taken down\n`)
const passed = results.reduce((sum, result) => sum + result.passed, 0)
const failed = results.reduce((sum, result) => sum + result.failed, 0) + stillUp.length
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

function chooseFiles(args: readonly string[]): readonly string[] {
  const all = globSync('test/**/*.test.ts').sort()
  if (args.length === 0) return all
  const wanted = args.map((arg) => relative(process.cwd(), resolve(arg)))
  return all.filter((file) => wanted.some((prefix) => file === prefix || file.startsWith(`${prefix}/`)))
}

function laneOf(file: string): Lane {
  if (alone.test(file)) return 'alone'
  const text = readFileSync(file, 'utf8')
  return heavy.test(file) || sharesCluster.test(text) || /\bwithJobs\(/.test(text) ? 'cluster' : 'plain'
}

/** A worker's own; whoever sets VMRM_CLUSTER_DIR gets that one for all. */
function sharedCluster(worker: number): string {
  const folder = process.env.VMRM_CLUSTER_DIR ?? `/var/tmp/vmrm-cluster${worker === 0 ? '' : `-${worker}`}`
  if (!sharedClusters.has(folder)) sharedClusters.set(folder, clusterSucceeds('status', folder))
  return folder
}

/** Ends the shared clusters, but those that were somebody's before; returns those that cannot be ended. */
function takeDown(): readonly string[] {
  const ours = [...sharedClusters].filter(([, wasUp]) => !wasUp).map(([folder]) => folder)
  sharedClusters.clear()
  return ours.filter((folder) => !clusterSucceeds('down', folder))
}

function clusterSucceeds(verb: 'status' | 'down', folder: string): boolean {
  const env = { ...process.env, VMRM_CLUSTER_DIR: folder }
  return spawnSync(cluster, [verb], { stdio: 'ignore', env }).status === 0
}

/**
 * What failed is run once more, alone: a machine that others share can starve a test past its bounds. What passes then is
 * counted as passed, and is named, so that it gets mended; what fails twice has failed.
 */
async function runAgain(): Promise<void> {
  for (const { file } of results.filter((result) => result.failed > 0)) {
    const again = await runFile(file)
    const at = results.findIndex((result) => result.file === file)
    if (again.failed === 0) results[at] = again
    const verdict = again.failed > 0 ? 'FAIL again' : 'UNSTEADY: failed at first, passed alone'
    process.stdout.write(`${verdict} ${file} (${again.passed} passed, ${again.failed} failed, ${again.seconds} s)\n`)
    if (again.failed > 0) process.stdout.write(`${tail(again.output)}\n`)
  }
}

async function runAll(queue: readonly string[], width: number): Promise<void> {
  const rankOf = (file: string) => [...longest, /^/].findIndex((pattern) => pattern.test(file))
  const left = queue.toSorted((a, b) => rankOf(a) - rankOf(b))
  const work = async (worker: number) => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      const result = await runFile(file, worker)
      results.push(result)
      const verdict = result.failed > 0 ? 'FAIL' : 'ok'
      const done = `${results.length}/${files.length}`
      process.stdout.write(
        `${done} ${verdict} ${file} (${result.passed} passed, ${result.failed} failed, ${result.seconds} s)\n`,
      )
      if (result.failed > 0) process.stdout.write(`${tail(result.output)}\n`)
    }
  }
  await Promise.all(Array.from({ length: width }, (_, worker) => work(worker)))
}

function runFile(file: string, worker = 0): Promise<Result> {
  const beganMs = Date.now()
  const shared = sharesCluster.test(readFileSync(file, 'utf8')) ? { VMRM_CLUSTER_DIR: sharedCluster(worker) } : {}
  return new Promise((settle) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // tap's own limit is 30 s a file, which a busy machine needs longer than.
      env: { ...process.env, ...shared, TAP: '1', TAP_TIMEOUT: String(fileTimeoutMs / 1000) },
    })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
    // First a signal that lets it take down what it brought up.
    const timer = setTimeout(() => {
      child.kill('SIGTERM')
      setTimeout(() => child.kill('SIGKILL'), killAfterMs).unref()
    }, fileTimeoutMs)
    child.on('close', (code) => {
      clearTimeout(timer)
      const output = Buffer.concat(chunks).toString()
      const counts = /^# \{ total: (\d+)(?:, pass: (\d+))?(?:, fail: (\d+))?.*\}$/m.exec(output.slice(-4000))
      const failed = Number(counts?.[3] ?? 0)
      // A file that dies, or ends without counting, has failed whatever it printed before.
      const died = counts === null || (code !== 0 && failed === 0) ? 1 : 0
      settle({
        file,
        passed: Number(counts?.[2] ?? 0),
        failed: failed + died,
        seconds: Math.round((Date.now() - beganMs) / 100) / 10,
        output,
      })
    })
  })
}

/** What did not pass, with its diagnostics; all of a short output. */
function tail(output: string): string {
  const lines = output.trimEnd().split('\n')
  return lines
    .filter((line) => !/^\s*ok /.test(line))
    .slice(-200)
    .join('\n')
}
