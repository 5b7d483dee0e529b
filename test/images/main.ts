// The command line of test/images/build. It owns options and progress lines; build-images.ts does the work.
import { access, constants } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { exitCodeOfFamily } from '../../lib/errors/catalogue.ts'
import { renderForUser, toVmrmError, VmrmError } from '../../lib/errors/vmrm-error.ts'
import { buildTiny } from './build-tiny.ts'
import { buildDebian } from './debian/build-debian.ts'
import type { BuildOptions, BuildOutcome } from './image-set.ts'

const usage = `Usage: test/images/build tiny|broken|debian [--output DIR] [--agent FILE] [--packages DIR]

Makes master images from Debian packages, with a catalogue entry beside each. Nothing is done when nothing changed.
  tiny, broken    a very small one with the agent built in, and its variants that do not boot (tiny-panic, tiny-hang,
                  tiny-noboot): all come from the same files, so both names build all of them
  debian          systemd, cloud-init, ssh and MPI; the agent comes on the seed. Needs root
  --output DIR    where the images go (default: $VMRM_IMAGES, or /var/tmp/vmrm-images)
  --agent FILE    the guest agent that is built in (default build/c/vmrm-agent)
  --packages DIR  where downloaded packages are kept (default /var/tmp/vmrm-packages)
`

const projectRoot = resolve(import.meta.dirname, '../..')

function readOptions() {
  try {
    const text = { type: 'string' } as const
    const options = { output: text, agent: text, packages: text, help: { type: 'boolean', short: 'h' } } as const
    return parseArgs({ options, allowPositionals: true })
  } catch (cause) {
    throw new VmrmError('request-invalid', cause instanceof Error ? cause.message : String(cause), { hint: usage })
  }
}

async function main(): Promise<void> {
  process.umask(0o022)
  const startedMs = performance.now()
  const { values, positionals } = readOptions()
  if (values.help) {
    process.stdout.write(usage)
    return
  }
  const [name, ...more] = positionals
  if (!isImageName(name) || more.length > 0) {
    throw new VmrmError('request-invalid', `test/images/build: no image of that name: ${positionals.join(' ')}`, {
      hint: usage,
    })
  }
  const progress = (line: string): void => {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    process.stdout.write(`${seconds.padStart(6)} s  ${line}\n`)
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const output = resolve(values.output ?? process.env.VMRM_IMAGES ?? '/var/tmp/vmrm-images')
  const cache = resolve(values.packages ?? '/var/tmp/vmrm-packages')
  const options = { output, cache, signal: stop.signal, progress }
  const outcome = name === 'debian' ? await buildDebian(options) : await buildWithAgent(options, values.agent)
  progress(outcome === 'built' ? `${name} is ready in ${output}` : `${name} in ${output} is up to date`)
}

const isImageName = (name: string | undefined): name is 'tiny' | 'broken' | 'debian' =>
  name === 'tiny' || name === 'broken' || name === 'debian'

/** tiny and its variants, with this agent. */
async function buildWithAgent(options: BuildOptions, agentOption: string | undefined): Promise<BuildOutcome> {
  const agent = resolve(agentOption ?? join(projectRoot, 'build/c/vmrm-agent'))
  await access(agent, constants.X_OK).catch((cause) => {
    throw new VmrmError('command-failed', `building an image: there is no agent at ${agent}`, {
      cause,
      hint: 'Run `npm run build` first, or name another one with --agent.',
    })
  })
  return buildTiny({ ...options, agent })
}

try {
  await main()
} catch (thrown) {
  const error = toVmrmError(thrown)
  process.stderr.write(renderForUser(error))
  process.exitCode = exitCodeOfFamily[error.family]
}
