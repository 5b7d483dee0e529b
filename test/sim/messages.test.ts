// Messages that are lost, repeated, late and out of order change nothing, nor do daemons and machines that die
// meanwhile, nor a ledger or journal whose disk is full: the
// real transaction, run state machine, messenger, reconciler and handlers, over a simulated network, hypervisor and clock.
// VMRM_TEST_SEED=N plays that one history; VMRM_SIM_SEEDS=N plays so many.
import t from 'tap'
import { playHistory } from './messages-world.ts'

const only = process.env.VMRM_TEST_SEED
const seeds = only === undefined ? Number(process.env.VMRM_SIM_SEEDS ?? 200) : 1

t.test('all or none, no decision alone, leases freed once and last, nobody else touched, nothing left', async (t) => {
  const totals = { steps: 0, sent: 0, lost: 0, twice: 0, refused: 0 }
  const states: Record<string, number> = {}
  const beganMs = performance.now()
  for (let at = 0; at < seeds; at += 1) {
    const seed = only === undefined ? at + 1 : Number(only)
    try {
      const history = await playHistory(seed)
      for (const name of ['steps', 'sent', 'lost', 'twice', 'refused'] as const) totals[name] += history[name]
      for (const [state, count] of Object.entries(history.states)) {
        const [kind = ''] = state.split(' ')
        states[kind] = (states[kind] ?? 0) + count
      }
    } catch (error) {
      t.fail(`VMRM_TEST_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`)
      return
    }
  }
  const seconds = (performance.now() - beganMs) / 1000
  t.comment(
    `${seeds} histories: ${JSON.stringify(totals)} ${JSON.stringify(states)}, ${Math.round(totals.steps / seconds)} steps/s`,
  )
  t.pass(`${seeds} histories`)
  if (only !== undefined) return
  for (const state of ['committed', 'aborted', 'lost', 'ended', 'batch-committed', 'batch-aborted', 'batch-lost'])
    t.ok((states[state] ?? 0) > 10, `runs that came to ${state}`)
  t.ok(totals.lost > 1000 && totals.twice > 1000, 'the network was bad')
  t.ok(totals.refused > 100, "the ledger's disk was full at times")
})
