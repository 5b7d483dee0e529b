// Where a task runs, as it tells by itself, before the names of nodes and VMs count as the same: a VM has a hostname of its own, and a kernel that
// was booted for itself. It must never look at what Slurm says, to which both are one node.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Test } from 'tap'

export type How = 'plain' | 'vm'

const bootId = '/proc/sys/kernel/random/boot_id'

/** A line of sh or bash that prints where it runs. */
const tellPlace = `echo "$(cat /proc/sys/kernel/hostname) $(cat ${bootId})"`

/** Files of a play, and what of it wrote them. */
const kinds = [
  { file: 'place.step', what: 'tasks of a step' },
  { file: 'place.programs', what: 'tasks of several programs' },
  { file: 'place.tty', what: 'a task with a terminal' },
  { file: 'place.script', what: 'the script' },
] as const

/** Lines of a play, in its folder: itself and tasks of several kinds tell where they are. */
export const tellPlaces = `echo '${tellPlace}' >place
sh place >place.script
srun sh place >place.step
echo "* sh $PWD/place" >programs
srun --multi-prog programs >place.programs
srun -n1 -N1 --pty sh place >place.tty 2>place.err </dev/null`

/** The script, which first tells where it runs if it is one of bash: in a file of its own job beside alice's `folder`, as an array has several. */
export const tellingScript = (script: string, folder: string): string =>
  script.replace(
    /^#!\/bin\/bash\n(#SBATCH .*\n)*/,
    (head) => `${head}${tellPlace} >>/home/alice/${folder}.place-$SLURM_JOB_ID\n`,
  )

/** What such scripts told; `folder` is its path on this machine. */
export function toldBeside(folder: string): string[] {
  const files = readdirSync(dirname(folder)).filter((name) => name.startsWith(`${basename(folder)}.place-`))
  return files.map((name) => readFileSync(join(dirname(folder), name), 'utf8'))
}

const names = { plain: /^n[12]$/, vm: /^tiny-\d{4}$/ } as const

/** Holds names that tasks printed against what `how` means: there are some, and all are of nodes, or all of VMs. */
export function rightNames(t: Test, how: How, found: readonly string[], what: string): void {
  const wrong = found.filter((name) => !names[how].test(name))
  t.ok(found.length > 0 && wrong.length === 0, `${how}: ${what} in the right place`, { found })
}

/** The same of what `tellPlace` printed: this machine's kernel is that of its nodes, and of no VM. */
export function rightPlaces(t: Test, how: How, told: string, what: string): void {
  const places = told.split(/\r?\n/).filter((line) => line !== '')
  const own = readFileSync(bootId, 'utf8').trim()
  const onThisKernel = places.filter((line) => line.split(' ')[1] === own)
  rightNames(
    t,
    how,
    places.map((line) => line.split(' ')[0] ?? ''),
    what,
  )
  t.equal(onThisKernel.length, how === 'plain' ? places.length : 0, `${how}: ${what}, on the right kernel`, { places })
}

/** Holds what `tellPlaces` left in a play's folder against what `how` means; the lines of a `salloc` run where it was typed. */
export function rightPlay(t: Test, how: How, program: 'salloc' | 'sbatch', folder: string): void {
  for (const { file, what } of kinds)
    if (program === 'sbatch' || file !== 'place.script')
      rightPlaces(t, how, readFileSync(join(folder, file), 'utf8'), what)
}
