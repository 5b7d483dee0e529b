// The way of one domain through a real libvirtd, printed step by step: run by Node and by bun, whose output must be equal.
// Arguments: socket path, URI. It never leaves a domain behind.
import { connectLibvirt, type LifecycleEvent } from '../../lib/libvirt/index.ts'
import { createLog } from '../../lib/log.ts'
import { until } from './until.ts'

const [socketPath = '', uri = ''] = process.argv.slice(2)
const type = uri.startsWith('test:') ? 'test' : 'qemu'
const log = createLog({ level: 'warn', write: (line) => process.stdout.write(line) })
const say = (step: string, value: unknown): void => {
  process.stdout.write(`${step} ${JSON.stringify(value)}\n`)
}
const xmlOf = (name: string): string =>
  `<domain type='${type}'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64'>hvm</type></os></domain>`

const connection = await connectLibvirt({ socketPath, uri, log })
const events: LifecycleEvent[] = []
connection.onLifecycle((event) => events.push(event))
const domain = await connection.createXml(xmlOf('exercise'), type === 'qemu' ? ['paused'] : [])
say('created', domain.name)
try {
  say('found', (await connection.lookupByName('exercise'))?.uuid === domain.uuid)
  say('unknown', (await connection.lookupByName('nobody')) ?? null)
  await connection.suspend(domain)
  say('suspended', await connection.state(domain))
  await connection.resume(domain)
  say('resumed', await connection.state(domain))
  const { maxMemoryKib, memoryKib, vcpus } = await connection.info(domain)
  say('info', { maxMemoryKib, memoryKib, vcpus })
  await connection.pinVcpu(domain, { vcpu: 0, cpus: [0], hostCpus: 2 })
  say('refused', await connection.createXml('<domain/>', []).catch((error) => error.libvirtCode))
} finally {
  say('destroyed', await connection.destroy(domain))
  say('again', await connection.destroy(domain))
}
await until('the event of the end', () => events.some(({ event }) => event === 'stopped'))
say(
  'events',
  events.map(({ event, detail }) => `${event} ${detail}`),
)
await connection.close()
