// Lets a test stop the processes of a cluster at a named step (lib/daemon/steps.ts). Daemons and hooks get the variable from
// wrappers in the cluster's own /usr/lib/vmrm, as no environment of a user or of Slurm gets through to them.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StepName } from '../../lib/daemon/steps.ts'
import { hostNamed, type Layout } from '../cluster/layout.ts'
import { until } from '../support/until.ts'

const inHost = '/run/vmrm-steps'
const wrapped = ['vmrmd', 'vmrm-prolog', 'vmrm-epilog', 'vmrm-prolog-slurmctld', 'vmrm-epilog-slurmctld']

/** From the next start of each process on; `cluster up` takes the wrappers away again. */
export function makeHoldable(layout: Layout): void {
  for (const host of layout.hosts) {
    const folder = join(host.folder, inHost)
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, 0o777)
  }
  const parts = join(layout.folder, 'usr-lib-vmrm')
  mkdirSync(join(parts, 'held'), { recursive: true })
  for (const name of wrapped) {
    rmSync(join(parts, 'held', name), { force: true })
    symlinkSync('../vmrm', join(parts, 'held', name))
    rmSync(join(parts, name), { force: true })
    const script = `#!/bin/sh\nVMRM_TEST_STEPS=${inHost}\nexport VMRM_TEST_STEPS\nexec /usr/lib/vmrm/held/${name} "$@"\n`
    writeFileSync(join(parts, name), script, { mode: 0o755 })
  }
}

/** A job is over for Slurm before the controller has taken its last steps. */
const lastStepsMs = 30_000

export interface Held {
  /** As the host counts. */
  readonly pid: number
  /** The run, VM or template that the step is about. */
  readonly subject: string
}

export interface Hold {
  /** Waits until the step is taken. Undefined where `isOver` has been so for a while; it may say what the end was. */
  reached(isOver: () => Promise<string | boolean | undefined>, timeoutMs: number): Promise<Held | undefined>
  /** The process goes on, if it lives; a request that was not met is withdrawn. */
  release(): void
}

/**
 * `subject`: a run (`j7r0`), a VM (`j7r0v1`), or `any`: whatever comes first. The step is held once, for the `first` that
 * comes to it, or for `everyone` who does until it is released.
 */
export function holdAt(
  layout: Layout,
  host: string,
  step: StepName,
  subject: string,
  who: 'first' | 'everyone' = 'first',
): Hold {
  const asked = join(hostNamed(layout, host).folder, inHost, `${step}@${subject}`)
  const held = `${asked}.held`
  writeFileSync(asked, who)
  return {
    async reached(isOver, timeoutMs) {
      let looked = performance.now()
      let overSinceMs: number | undefined
      const outcome = await until(
        `${step} of ${subject} on ${host}`,
        async () => {
          if (existsSync(held) && !existsSync(asked)) return heldIn(held)
          if (performance.now() - looked < 1000) return undefined
          looked = performance.now()
          overSinceMs ??= (await isOver()) ? looked : undefined
          return overSinceMs !== undefined && looked - overSinceMs > lastStepsMs ? ('over' as const) : undefined
        },
        timeoutMs,
      )
      return outcome === 'over' ? undefined : outcome
    },
    release() {
      rmSync(asked, { force: true })
      rmSync(held, { force: true })
    },
  }
}

function heldIn(path: string): Held {
  const [pid, subject = ''] = readFileSync(path, 'utf8').split(' ')
  return { pid: Number(pid), subject }
}
