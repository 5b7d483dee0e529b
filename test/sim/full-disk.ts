// The ledger on a disk that is full for a while: reading works, writing mostly not.
import type { Ledger } from '../../lib/daemon/controller/ledger/ledger.ts'
import type { Random } from '../support/random.ts'

export interface LedgerDisk {
  state: 'well' | 'full'
  /** Writes that failed. */
  refused: number
}

const writing: ReadonlySet<keyof Ledger> = new Set([
  ...(['add', 'addBatch', 'adopt', 'finish', 'forgetEndedBefore', 'loseVm', 'move', 'rememberNode'] as const),
  ...(['setDrained', 'setPlan', 'setShare'] as const),
])

export function onDisk(ledger: Ledger, disk: LedgerDisk, random: Random): Ledger {
  const refuse = () => {
    disk.refused += 1
    throw new Error('database or disk is full')
  }
  return new Proxy(ledger, {
    get(target, name: keyof Ledger) {
      const method = target[name]
      if (typeof method !== 'function' || !writing.has(name)) return method
      return (...args: never[]) => {
        // Some room is there now and then.
        if (disk.state === 'full' && random.int(4) > 0) refuse()
        return (method as (...of: never[]) => unknown)(...args)
      }
    },
  })
}
