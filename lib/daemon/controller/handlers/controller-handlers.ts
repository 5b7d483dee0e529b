// What the controller's daemon answers to each message. The handlers translate between messages and the transactions, the
// ledger and the catalogue; they decide nothing themselves but who may see what.
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { createBeginRun } from '../begin-run.ts'
import type { Transactions } from '../transaction/transaction.ts'
import { imageHandlers } from './image-handlers.ts'
import { createNodeHello } from './node-hello.ts'
import { nodeRunHandlers } from './node-run-handlers.ts'
import { runHandlers } from './run-handlers.ts'

export type ControllerHandlerOptions = HookHandlerOptions &
  Parameters<typeof nodeRunHandlers>[0] &
  Parameters<typeof createNodeHello>[0] &
  Parameters<typeof imageHandlers>[0] &
  Parameters<typeof runHandlers>[0]

interface HookHandlerOptions {
  readonly transactions: Transactions
  readonly beginRun: ReturnType<typeof createBeginRun>
}

export function createControllerHandlers(options: ControllerHandlerOptions) {
  return {
    ...hookHandlers(options),
    ...nodeRunHandlers(options),
    'node-hello': createNodeHello(options),
    ...imageHandlers(options),
    ...runHandlers(options),
  }
}

function hookHandlers({ transactions, beginRun }: HookHandlerOptions) {
  return {
    'run-begin': async (request: RequestOf<'run-begin'>): Promise<ReplyOf<'run-begin'>> => {
      return { outcome: await beginRun(request) }
    },
    'run-end': async (request: RequestOf<'run-end'>): Promise<ReplyOf<'run-end'>> => {
      transactions.end(request)
      return {}
    },
  }
}
