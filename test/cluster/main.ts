// Command line of the test cluster: reads the arguments, calls the command, words a failure. Commands load only what they need.
import { parseArgs } from 'node:util'
import { type ClusterSettings, controllerName, defaultSettings, hostNamed, maxNodes } from './layout.ts'
import { runningHosts } from './namespaces.ts'
import { clusterFolder, currentLayout, readSettings } from './state.ts'

const usage = `usage: cluster up [--nodes N] [--cpus N] [--memory MIB] [--no-vmrm] [--accounting] [--bind-cpus]
       cluster down
       cluster status [--json]
       cluster run [--node NAME] [--user USER] -- CMD ...
       cluster daemon start|stop|restart --node NAME munged|mariadbd|slurmdbd|slurmctld|slurmd|libvirtd|ganesha|vmrmd
       cluster crash --node NAME        ends a host as a power loss does; \`up\` boots it again
Environment: VMRM_CLUSTER_DIR (/var/tmp/vmrm-cluster), VMRM_IMAGES (/var/tmp/vmrm-images)
`

class UsageError extends Error {}

const say = (line: string): void => void process.stderr.write(`cluster: ${line}\n`)

function numberOf(text: string | undefined, name: string, fallback: number, most: number): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > most) throw new UsageError(`--${name} takes 1 to ${most}`)
  return value
}

async function upCommand(args: string[]): Promise<void> {
  const string = { type: 'string' } as const
  const boolean = { type: 'boolean' } as const
  const { values } = parseArgs({
    args,
    options: {
      ...{ nodes: string, cpus: string, memory: string },
      ...{ 'no-vmrm': boolean, accounting: boolean, 'bind-cpus': boolean },
    },
  })
  const { up } = await import('./up.ts')
  const { isBuilt } = await import('./vmrm.ts')
  const earlier = readSettings(clusterFolder())
  const base = earlier ?? defaultSettings
  const isUp = earlier !== undefined && runningHosts(currentLayout(base)).size > 0
  let settings: ClusterSettings = {
    nodeCount: numberOf(values.nodes, 'nodes', isUp ? base.nodeCount : defaultSettings.nodeCount, maxNodes),
    cpusPerNode: numberOf(values.cpus, 'cpus', isUp ? base.cpusPerNode : defaultSettings.cpusPerNode, 1024),
    memoryMibPerNode: numberOf(
      values.memory,
      'memory',
      isUp ? base.memoryMibPerNode : defaultSettings.memoryMibPerNode,
      10_000_000,
    ),
    vmrm: values['no-vmrm'] === true ? 'without-vmrm' : isUp ? base.vmrm : 'with-vmrm',
    accounting: values.accounting === true ? 'with-accounting' : isUp ? base.accounting : defaultSettings.accounting,
    binding: values['bind-cpus'] === true ? 'bound-tasks' : isUp ? base.binding : defaultSettings.binding,
  }
  if (!isUp && settings.vmrm === 'with-vmrm' && !isBuilt(currentLayout(settings))) {
    say('build/vmrm is missing (npm run build): a plain Slurm cluster without vmrm')
    settings = { ...settings, vmrm: 'without-vmrm' }
  }
  if (isUp && JSON.stringify(settings) !== JSON.stringify(base))
    throw new UsageError(`the cluster is up as ${JSON.stringify(base)}: take it down first`)
  await up({ layout: currentLayout(settings), settings, earlier, say })
}

async function downCommand(): Promise<void> {
  const { down } = await import('./down.ts')
  await down(currentLayout(readSettings(clusterFolder()) ?? defaultSettings), say)
}

function settingsOfRunning(): ClusterSettings {
  const settings = readSettings(clusterFolder())
  if (settings === undefined) throw new UsageError('the cluster is down')
  return settings
}

async function statusCommand(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { json: { type: 'boolean' } } })
  const { hostStatuses, isHealthy, renderStatus } = await import('./status.ts')
  const settings = readSettings(clusterFolder())
  if (settings === undefined) {
    process.stdout.write(values.json === true ? '[]\n' : 'the cluster is down\n')
    process.exitCode = 3
    return
  }
  const layout = currentLayout(settings)
  const statuses = hostStatuses(layout, settings)
  process.stdout.write(
    values.json === true ? `${JSON.stringify(statuses, null, 2)}\n` : await renderStatus(layout, statuses),
  )
  if (!statuses.every(isHealthy)) process.exitCode = 3
}

async function runCommand(args: string[]): Promise<void> {
  const end = args.indexOf('--')
  const own = end < 0 ? args : args.slice(0, end)
  const argv = end < 0 ? [] : args.slice(end + 1)
  const { values } = parseArgs({ args: own, options: { node: { type: 'string' }, user: { type: 'string' } } })
  if (argv.length === 0) throw new UsageError('run needs -- and a command')
  const layout = currentLayout(settingsOfRunning())
  const host = runningHosts(layout).get(hostNamed(layout, values.node ?? controllerName).name)
  if (host === undefined) throw new Error(`host ${values.node ?? controllerName} does not run`)
  const { runAndExit } = await import('./run.ts')
  await runAndExit(host, values.user ?? 'root', argv)
}

async function daemonCommand(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: { node: { type: 'string' } } })
  const [action, name] = positionals
  if (values.node === undefined || name === undefined) throw new UsageError('daemon needs --node and a daemon')
  if (action !== 'start' && action !== 'stop' && action !== 'restart')
    throw new UsageError('daemon start, stop or restart')
  const { controlDaemon } = await import('./daemon-control.ts')
  const settings = settingsOfRunning()
  await controlDaemon({ layout: currentLayout(settings), settings, hostName: values.node, action, name })
}

async function crashCommand(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { node: { type: 'string' } } })
  if (values.node === undefined) throw new UsageError('crash needs --node')
  const { killHost } = await import('./namespaces.ts')
  const layout = currentLayout(settingsOfRunning())
  await killHost(layout, hostNamed(layout, values.node).name)
}

const commands: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  up: upCommand,
  down: downCommand,
  status: statusCommand,
  run: runCommand,
  daemon: daemonCommand,
  crash: crashCommand,
}

const [name = '', ...args] = process.argv.slice(2)
try {
  if (process.getuid?.() !== 0) throw new UsageError('the cluster needs root')
  const work = commands[name]
  if (work === undefined) throw new UsageError(name === '' ? 'which command?' : `there is no command ${name}`)
  await work(args)
} catch (error) {
  const isUsage = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS')
  say(error instanceof Error ? error.message : String(error))
  if (isUsage === true) process.stderr.write(usage)
  process.exitCode = isUsage === true ? 2 : 1
}
