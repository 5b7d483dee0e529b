// `vmrm create`: VMs without a job. It asks the controller, waits for what becomes of it, and leaves nothing if it is interrupted.
import { randomUUID } from 'node:crypto'
import { catalogue, exitCodeOfFamily } from '../errors/catalogue.ts'
import type { ProtocolClient } from '../protocol/client.ts'
import type { RequestOf } from '../protocol/messages.ts'
import { awaitBatch, codeOf, type ListedBatch, notConfirmed } from './batch/await-batch.ts'
import { beginBatch } from './batch/begin-batch.ts'
import { takeBack } from './batch/take-back.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { withController } from './controller.ts'
import { renderRuns } from './ps.ts'

const usage = [
  'vmrm create IMAGE[@REV] --memory MIB [--cpus N] [--nodes NODES|COUNT] [--vm-per-node K] [--vm-strategy=…]',
  '[--user USER] [--name NAME] [--within SECONDS] [--no-wait] [--json]',
].join(' ')
const signalExits = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

export const create: Command = {
  summary: 'VMs without a job (administrators)',
  usage,
  help: `Makes a batch: VMs of an image on some nodes, all of them or none, that are there until \`vmrm destroy\`. Slurm knows nothing of
them, so keep the nodes' CPUs and memory free for them. Root and SlurmUser only.
  IMAGE           a name of \`vmrm image list\`, with @REV that revision and no other
  --memory MIB    of each VM
  --cpus N        of each VM (default 1)
  --nodes NODES   a node or a host list such as n[1-4]; or how many, which have the fewest VMs (default 1)
  --vm-per-node K VMs on each of them (default 1)
  --vm-strategy   all-or-nothing (the cluster's default, as a rule) or best-effort
  --user USER     whose VMs they are: the user in them, who also sees them in \`vmrm ps\` (default: you). Not
                  root where the image exports folders of the nodes
  --name NAME     a name of your own. Asked for again with the same name nothing more is made, whatever was lost on the way
  --within S      give up if they are not ready after S seconds (at most, and by default, as for jobs)
  --no-wait       return when the controller has it; \`vmrm ps\` shows how it goes on
  --json          the batch as \`vmrm ps --json\` has it
Prints the batch and its VMs. Interrupted while it waits it removes what it began; interrupted again it leaves that, and says so.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, {
      memory: { type: 'string' },
      cpus: { type: 'string' },
      nodes: { type: 'string' },
      'vm-per-node': { type: 'string' },
      'vm-strategy': { type: 'string' },
      user: { type: 'string' },
      name: { type: 'string' },
      within: { type: 'string' },
      'no-wait': { type: 'boolean' },
      json: { type: 'boolean' },
    })
    const [image, ...more] = positionals
    if (image === undefined || more.length > 0) throw new UsageError('one image is needed', usage)
    if (values.memory === undefined) throw new UsageError('how much memory has a VM? --memory', usage)
    const request = requestFrom(image, { ...values, memory: values.memory })
    return withController((controller) => createAndShow(controller, request, values))
  },
}

type Values = Partial<Record<'cpus' | 'nodes' | 'vm-per-node' | 'vm-strategy' | 'user' | 'name' | 'within', string>>

/** Throws UsageError for what the controller would not understand. */
function requestFrom(text: string, values: Values & { readonly memory: string }): RequestOf<'create-batch'> {
  const [, image, revision] = /^([a-z0-9][a-z0-9._-]{0,62})(?:@([A-Za-z0-9._-]{1,63}))?$/.exec(text) ?? []
  if (image === undefined) throw new UsageError(`${JSON.stringify(text)} is no image`, usage)
  const { nodes, name, user } = values
  if (name !== undefined && (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name) || /^b\d+$/.test(name)))
    throw new UsageError(`--name: ${JSON.stringify(name)} is no name, or looks like the number of a batch`, usage)
  const isCount = nodes !== undefined && /^\d+$/.test(nodes)
  return {
    // Told by nobody else, so that a call that was answered by nobody can be repeated.
    name: name ?? randomUUID(),
    image,
    ...(revision === undefined ? {} : { revision }),
    ...(isCount ? { nodeCount: number('--nodes', nodes) } : nodes === undefined ? {} : { nodes }),
    perNode: number('--vm-per-node', values['vm-per-node'] ?? '1'),
    cpus: number('--cpus', values.cpus ?? '1'),
    memoryMib: number('--memory', values.memory),
    ...strategyFrom(values['vm-strategy']),
    ...(user === undefined ? {} : { user }),
    ...(values.within === undefined ? {} : { withinSeconds: number('--within', values.within) }),
  }
}

function strategyFrom(text: string | undefined): Pick<RequestOf<'create-batch'>, 'strategy'> {
  if (text === undefined) return {}
  if (text === 'all-or-nothing' || text === 'best-effort') return { strategy: text }
  throw new UsageError(`--vm-strategy: ${JSON.stringify(text)} is neither all-or-nothing nor best-effort`, usage)
}

function number(option: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new UsageError(`${option}: ${JSON.stringify(text)} is no number from 1 on`, usage)
}

async function createAndShow(
  controller: ProtocolClient,
  request: RequestOf<'create-batch'>,
  how: { 'no-wait'?: boolean | undefined; json?: boolean | undefined },
): Promise<number> {
  const interrupted = new AbortController()
  const again = new AbortController()
  const onSignal = (signal: NodeJS.Signals) => (interrupted.signal.aborted ? again : interrupted).abort(signal)
  const signals = Object.keys(signalExits) as (keyof typeof signalExits)[]
  for (const signal of signals) process.on(signal, onSignal)
  try {
    const asked = { interrupted: interrupted.signal, again: again.signal, tell }
    const batch = await beginBatch(controller, request, asked)
    if (batch === undefined) return exitOf(interrupted.signal)
    const until = how['no-wait'] === true ? 'known' : 'decided'
    let isTold = false
    const onSlowEnd = (run: ListedBatch) => {
      isTold = true
      tell(`${noVms(run)}; waiting until its nodes have removed what they began`)
    }
    const made = await awaitBatch(controller, { batch, until, signal: interrupted.signal, onSlowEnd })
    if (made !== 'interrupted') return show(made, { format: how.json === true ? 'json' : 'table', isTold })
    await takeBack(controller, { batch, again: again.signal, tell })
    return exitOf(interrupted.signal)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
  }
}

function tell(line: string): void {
  process.stderr.write(`vmrm: ${line}\n`)
}

function exitOf({ reason }: AbortSignal): number {
  return signalExits[reason as keyof typeof signalExits]
}

/** `isTold`: why it has no VMs. */
function show(run: ListedBatch, { format, isTold }: { format: 'json' | 'table'; isTold: boolean }): number {
  if (format === 'json') process.stdout.write(`${JSON.stringify(run, null, 2)}\n`)
  const isFine = run.state === 'preparing' || run.state === 'committed' || run.state === 'lost'
  if (isFine) {
    if (format === 'table') process.stdout.write(renderRuns([run]))
    return 0
  }
  if (!isTold) tell(noVms(run))
  if (run.state === 'ending' && run.batch !== undefined) tell(notConfirmed(run.batch))
  return exitCodeOfFamily[catalogue[codeOf(run)].family]
}

function noVms(run: ListedBatch): string {
  return `batch b${run.batch} (${run.name ?? ''}) has no VMs: ${run.reason ?? 'it was destroyed'}`
}
