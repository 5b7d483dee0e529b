// Which of a guest's processes are stopped for a template, in a PID namespace of their own: all or none.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'

const here = import.meta.dirname
const agent = join(here, '../../lib/guest/agent')
const scratch = mkdtempSync(join(tmpdir(), 'vmrm-freeze-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
const timeout = 60_000
const program = join(scratch, 'freeze-family')
const sources = [join(here, 'freeze-family.c'), ...['freeze.c', 'complaint.c'].map((name) => join(agent, name))]
const flags = ['-std=c11', '-Wall', '-Wextra', '-D_GNU_SOURCE', '-fsanitize=address,undefined', '-DFROZEN_MAX=4']
await execa('gcc', [...flags, '-I', agent, '-o', program, ...sources], { timeout })

/** A family of so many, of which the first is stopped already. */
async function family(count: number): Promise<readonly string[]> {
  const words = Array.from({ length: count - 1 }, () => 'x')
  const cage = ['-p', '--fork', '--kill-child=KILL', '--mount-proc', program, ...words]
  // The sanitizer's own look for leaks needs ptrace.
  const { stdout } = await execa('unshare', cage, { timeout, env: { ASAN_OPTIONS: 'detect_leaks=0' } })
  return stdout.split('\n')
}

t.test('each that runs is stopped and goes on again; what somebody else has stopped stays so', async (t) => {
  t.same(await family(5), ['before TSSSS', 'frozen TTTTT', 'thawed TSSSS'])
})

t.test('more than there is room for: none stays stopped, and a sentence says why it is no template', async (t) => {
  const [before, refused, thawed, why] = await family(6)
  t.same([before, refused, thawed], ['before TSSSSS', 'refused TSSSSS', 'thawed TSSSSS'])
  t.match(why, /^the guest has more than 4 processes/)
})
