// The one compiled binary: which executable it is depends on the name it was called by. Each is loaded only when called,
// since a hook starts in 20 ms and the daemon's code would double that.
import { basename } from 'node:path'

const executables: Readonly<Record<string, () => Promise<{ main(args: readonly string[]): Promise<number> }>>> = {
  vmrm: () => import('./vmrm.ts'),
  vmrmd: () => import('./vmrmd.ts'),
  'vmrm-prolog': () => import('./vmrm-prolog.ts'),
  'vmrm-epilog': () => import('./vmrm-epilog.ts'),
  'vmrm-prolog-slurmctld': () => import('./vmrm-prolog-slurmctld.ts'),
  'vmrm-epilog-slurmctld': () => import('./vmrm-epilog-slurmctld.ts'),
}

const usageExit = 64

async function start(): Promise<number> {
  const name = basename(process.argv0)
  const load = executables[name]
  if (load === undefined) {
    process.stderr.write(`vmrm: there is no executable ${name}: it is one of ${Object.keys(executables).join(', ')}\n`)
    return usageExit
  }
  return (await load()).main(process.argv.slice(2))
}

// Not awaited at the top level: bytecode has no room for that.
void start().then((code) => {
  process.exitCode = code
})
