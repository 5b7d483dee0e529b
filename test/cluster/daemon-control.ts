// `cluster daemon`: one daemon of one host, so that tests can let it fail.
import { daemonsOf } from './daemon-table.ts'
import { startDaemon, stopDaemon } from './daemons.ts'
import { type ClusterSettings, controllerName, hostNamed, type Layout } from './layout.ts'
import { runningHosts } from './namespaces.ts'
import { liveHost } from './up.ts'

export async function controlDaemon(options: {
  layout: Layout
  settings: ClusterSettings
  hostName: string
  action: 'start' | 'stop' | 'restart'
  name: string
}): Promise<void> {
  const { layout, settings, action } = options
  const running = runningHosts(layout)
  const live = liveHost(hostNamed(layout, options.hostName), running)
  const specs = daemonsOf(live.host, settings, liveHost(hostNamed(layout, controllerName), running))
  const spec = specs.find((each) => each.name === options.name)
  if (spec === undefined) throw new Error(`${options.hostName} has ${specs.map((each) => each.name).join(', ')}`)
  if (action !== 'start') await stopDaemon(live.host, spec.name)
  if (action !== 'stop') await startDaemon(live, spec)
}
