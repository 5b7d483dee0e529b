// Makes and removes the network of a run on this node. It touches no device and no table that is not named after a VNI of ours.
import { access } from 'node:fs/promises'
import type { Log } from '../log.ts'
import { renderRunFiltersRemoval, renderRunServicesFiltersRemoval } from './filters.ts'
import { vniOfDevice } from './names.ts'
import type { RunNetworkPlan } from './run-plan.ts'
import { namespacePath, runTool } from './tools.ts'

export interface NetworkContext {
  readonly log: Log
  readonly signal?: AbortSignal
  /** A named namespace that stands for the host's; without it the caller's own. */
  readonly hostNamespace?: string
}

/**
 * Makes all of it, filters first, and returns when every device is up. What is left of an earlier try is removed first,
 * so it must not be called for a run whose VMs run. On failure or abort nothing stays; fails with `command-failed`.
 */
export async function setUpRunNetwork(plan: RunNetworkPlan, context: NetworkContext): Promise<void> {
  const { signal, hostNamespace: namespace, log } = context
  const startedMs = performance.now()
  if ((await findDevices(context)).some((device) => device.vni === plan.vni)) await tearDown(plan, context)
  try {
    await runTool({ tool: 'nft', args: ['-f', '-'], input: plan.filters, namespace, signal })
    await settleAll([
      batch('ip', plan.links, { namespace, signal }),
      plan.services !== undefined &&
        runTool({
          tool: 'nft',
          args: ['-f', '-'],
          input: plan.services.filters,
          namespace: plan.services.namespace,
          signal,
        }),
    ])
    await settleAll([
      plan.forwarding.length > 0 && batch('bridge', plan.forwarding, { namespace, signal }),
      plan.services !== undefined && batch('ip', plan.services.links, { namespace: plan.services.namespace, signal }),
    ])
  } catch (error) {
    await tearDown(plan, context).catch((cause: unknown) =>
      log.error('network.roll-back-failed', { vni: plan.vni, error: String(cause) }),
    )
    throw error
  }
  log.info('network.up', { vni: plan.vni, ms: Math.round(performance.now() - startedMs) })
}

/**
 * Removes whatever there is of a run's network, found by its names; nothing there is no error. Devices go before
 * filters, so that nothing is ever unfiltered. Fails with `command-failed` when something cannot be removed.
 */
export async function tearDownRunNetwork(
  options: { readonly vni: number; readonly servicesNamespace: string },
  context: NetworkContext,
): Promise<void> {
  const { vni, servicesNamespace } = options
  const { signal, hostNamespace: namespace, log } = context
  const devices = (await findDevices(context)).filter((device) => device.vni === vni)
  const removals = devices.map(({ name }) => `link delete dev ${name}`)
  if (removals.length > 0) await batch('ip', removals, { namespace, signal })
  await settleAll([
    runTool({ tool: 'nft', args: ['-f', '-'], input: renderRunFiltersRemoval(vni), namespace, signal }),
    (await exists(namespacePath(servicesNamespace))) &&
      runTool({
        tool: 'nft',
        args: ['-f', '-'],
        input: renderRunServicesFiltersRemoval(vni),
        namespace: servicesNamespace,
        signal,
      }),
  ])
  log.info('network.down', { vni, devices: devices.length })
}

/** The VNIs of which this node has a device or a table, in ascending order. */
export async function listRunNetworks(context: NetworkContext): Promise<number[]> {
  const { signal, hostNamespace: namespace } = context
  const [devices, tables] = await Promise.all([
    findDevices(context),
    runTool({ tool: 'nft', args: ['list', 'tables', 'bridge'], namespace, signal }),
  ])
  const vnis = new Set(devices.map((device) => device.vni))
  for (const [, hex = ''] of tables.matchAll(/^table bridge vmrm_([0-9a-f]{6})$/gm)) vnis.add(Number.parseInt(hex, 16))
  return [...vnis].sort((a, b) => a - b)
}

/** Undoes a failed or earlier try; not abortable, since half a network must not stay. */
async function tearDown(plan: RunNetworkPlan, { log, hostNamespace }: NetworkContext): Promise<void> {
  const servicesNamespace = plan.services?.namespace ?? ''
  await tearDownRunNetwork({ vni: plan.vni, servicesNamespace }, { log, ...(hostNamespace && { hostNamespace }) })
}

async function findDevices(context: NetworkContext): Promise<{ name: string; vni: number }[]> {
  const { signal, hostNamespace: namespace } = context
  const output = await runTool({ tool: 'ip', args: ['-details', '-json', 'link', 'show'], namespace, signal })
  const links = JSON.parse(output) as { ifname: string; linkinfo?: { info_kind?: string } }[]
  return links.flatMap(({ ifname: name, linkinfo }) => {
    const vni = vniOfDevice(name, linkinfo?.info_kind ?? '')
    return vni === undefined ? [] : [{ name, vni }]
  })
}

interface Where {
  readonly namespace: string | undefined
  readonly signal: AbortSignal | undefined
}

function batch(tool: 'ip' | 'bridge', lines: readonly string[], where: Where): Promise<string> {
  return runTool({ tool, args: ['-batch', '-'], input: `${lines.join('\n')}\n`, ...where })
}

/** Waits for all, even when one fails, so that a roll-back meets no command under way; then throws the first failure. */
async function settleAll(parts: readonly (Promise<unknown> | false)[]): Promise<void> {
  for (const result of await Promise.allSettled(parts)) if (result.status === 'rejected') throw result.reason
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
