// Fuzzes the guest's C parts under AddressSanitizer and UBSan, for a few seconds; VMRM_TEST_FUZZ_MS makes it longer.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { createRandom } from '../support/random.ts'

const run = promisify(execFile)
const guest = join(import.meta.dirname, '../../lib/guest')
const durationMs = Number(process.env.VMRM_TEST_FUZZ_MS ?? 3000)

t.setTimeout(durationMs * 2 + 120_000)

const frame = ['frame', 'parser', 'tlv', 'ring', 'sender', 'receiver'].map((f) => join(guest, 'frame', `${f}.c`))
const sharedParts = [
  'frame/signal_name',
  'wire/wire',
  'wire/wire_read',
  'wire/wire_write',
  'task/task',
  'task/task_receive',
  'task/task_send',
  'task/task_start',
]
const agentParts = [
  'task/task_io',
  'task/task_wire',
  'task/spec',
  'task/spec_field',
  'agent/agent',
  'agent/agent_sessions',
  'agent/agent_daemon',
  'agent/calls',
  'agent/call_link',
  'agent/call_origin',
  'agent/identity_fields',
  'agent/identity_parse',
  'agent/identity_peers',
  'agent/identity_ranges',
  'agent/complaint',
]
const agent = [...sharedParts, ...agentParts].map((f) => join(guest, `${f}.c`))

const drivers = [
  ['a stream over a bad link delivers every byte once and in order', 'guest-stream-model.c', frame, [], 20],
  [
    'hostile bytes neither crash the agent nor break its bounds',
    'guest-agent-fuzz.c',
    [...frame, ...agent],
    ['-Wl,--wrap=kill'],
    20,
  ],
] as const

for (const [name, driver, sources, more, leastRounds] of drivers) {
  t.test(name, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'vmrm-test-fuzz-'))
    t.teardown(() => rm(folder, { recursive: true, force: true }))
    const program = join(folder, 'driver')
    const flags =
      '-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all'
    const folders = ['frame', 'wire', 'task', 'client', 'call', 'agent'].map((folder) => join(guest, folder))
    const includes = [...folders, import.meta.dirname].map((folder) => `-I${folder}`)
    await run(
      'gcc',
      [...flags.split(' '), ...more, ...includes, '-o', program, join(import.meta.dirname, driver), ...sources],
      {
        timeout: 100_000,
      },
    )
    const { seed } = createRandom()
    t.comment(`VMRM_TEST_SEED=${seed}`)
    const { stdout } = await run(program, [String(seed), String(durationMs)], { timeout: durationMs + 60_000 })
    t.ok(Number(stdout) >= leastRounds, `${stdout.trim()} rounds`)
  })
}
