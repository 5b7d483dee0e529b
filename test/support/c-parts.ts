// Builds the C parts for tests, each into a folder of its own. It never touches build/, which a parallel test may be using.
import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** Flags for AddressSanitizer and UBSan with errors that end the program. */
export const sanitizers = '-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'

export async function makeScratch(name: string): Promise<string> {
  return mkdtemp(join(tmpdir(), `vmrm-test-${name}-`))
}

/** `make -C hooks/PART` into `folder`, with the given make variables; throws with the compiler's output. */
export async function buildPart(
  part: 'spank' | 'gate',
  folder: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<void> {
  const assignments = Object.entries({ BUILD: folder, ...variables }).map(([name, value]) => `${name}=${value}`)
  await run('make', ['-s', '-C', join(root, 'hooks', part), ...assignments], { timeout: 120_000 })
}

/** Compiles a test's own C file; throws with the compiler's output. */
export async function compile(sources: readonly string[], output: string, flags: readonly string[]): Promise<void> {
  await run('gcc', ['-std=c11', '-Wall', '-Wextra', ...flags, '-o', output, ...sources], { timeout: 120_000 })
}
