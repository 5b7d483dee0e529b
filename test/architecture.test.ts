// The architecture in one test: imports point inward, and never in a circle.
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'

/** What each part may import, beside itself, errors and log. Daemon, command and hooks put the rest together. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  log: [],
  job: [],
  network: [],
  libvirt: [],
  munge: [],
  guest: [],
  ssh: [],
  protocol: ['munge'],
  config: ['network', 'protocol'],
  image: ['config', 'job'],
  vm: ['image', 'libvirt'],
  slurm: ['config', 'job'],
  daemon: ['config', 'guest', 'image', 'job', 'network', 'protocol', 'slurm', 'ssh', 'vm'],
  command: ['config', 'daemon', 'image', 'job', 'libvirt', 'munge', 'network', 'protocol', 'slurm', 'vm'],
  hooks: ['command', 'config', 'daemon', 'job', 'protocol', 'slurm'],
}

const everyone = ['errors', 'log']
const files = globSync('{lib,hooks}/**/*.ts').sort()

function importsOf(file: string, kind: 'all' | 'values'): readonly string[] {
  const text = readFileSync(file, 'utf8')
  const found = text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'(\.[^']+)'|import\('(\.[^']+)'\)/gm)
  return [...found]
    .filter(([, type]) => kind === 'all' || type === undefined)
    .map(([, , from, lazy]) => join(dirname(file), from ?? lazy ?? ''))
    .filter((path) => path.endsWith('.ts'))
}

function partOf(file: string): string {
  const [top = '', second = ''] = file.split('/')
  return top === 'hooks' ? 'hooks' : second.replace(/\.ts$/, '')
}

t.test('every part imports only what lies further inward', async (t) => {
  const wrong = files.flatMap((file) =>
    importsOf(file, 'all')
      .map((target) => [partOf(file), partOf(target)] as const)
      .filter(([from, to]) => from !== to && !everyone.includes(to) && !mayImport[from]?.includes(to))
      .map(([from, to]) => `${file}: ${from} must not import ${to}`),
  )
  t.same(wrong, [])
  t.same(
    [...new Set(files.map(partOf))].filter((part) => mayImport[part] === undefined),
    [],
    'every part is known here',
  )
})

t.test('no file imports itself by a detour', async (t) => {
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string, path: readonly string[]) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' > '))
    if (done.has(file) || path.includes(file)) return
    for (const next of importsOf(file, 'values')) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  t.same(cycles, [])
})
