// Stand-ins for the compiled vmrm parts that the C parts start, as shell scripts; what they were given is in their output.
import type { MiniSlurmFile } from './mini-slurm.ts'

/** check-request by the image's name: `secret` is refused, `slow` never answers, `odd` fails, others are allowed. */
export const fakeCli = `#!/bin/sh
case "$2" in
  --image=secret) printf 'vmrm: image secret is not for alice\\nvmrm: ask bob\\n' >&2; exit 65 ;;
  --image=slow) exec sleep 60 ;;
  --image=odd) exit 3 ;;
  --image=echo-*) printf '%s\\n' "$@" >&2; env >&2; pwd >&2; ls /proc/self/fd >&2; exit 65 ;;
esac
`

/** Prints each argument and the environment's vmrm part, and ends with exit code 7. */
export const fakeTaskRunner = `#!/bin/sh
echo "vmrm-run as $(id -un) in $(pwd)"
for argument; do printf 'argument <%s>\\n' "$argument"; done
env | grep VMRM | sort
exit 7
`

/** A hook that leaves its environment in /run/hooks/NAME.JOBID. */
export const fakeHook = `#!/bin/sh
mkdir -p /run/hooks
env > "/run/hooks/\${0##*/}.$SLURM_JOB_ID"
exit 0
`

export function fakeParts(): MiniSlurmFile[] {
  const file = (name: string, content: string) => ({ path: `/usr/lib/vmrm/${name}`, content, mode: '0755' })
  return [
    file('vmrm', fakeCli),
    file('vmrm-run', fakeTaskRunner),
    file('vmrm-prolog', fakeHook),
    file('vmrm-epilog', fakeHook),
  ]
}
