// Scripts that run check.c by several launchers one after the other, and what of their output counts: the results, where the
// ranks were, and how each launcher ended.

export interface Launch {
  readonly name: string
  /** A line of shell. */
  readonly line: string
}

/** Each name of a host that check.c prints. */
export const hostsIn = (output: string): string[] =>
  [...output.matchAll(/(?<="hosts":\[[^\]]*)"([^"]+)"/g)].map(([, host = '']) => host)

interface Checked {
  readonly size: number
  readonly ring: number
  readonly sums: number
  readonly heat: number
  /** By rank; hosts are numbered in the order they appear. */
  readonly hosts: readonly number[]
}

export interface Launched {
  readonly results: readonly Checked[]
  readonly outcome: 'fine' | 'failed'
}

/** What `check` says where all is right. */
export const rightResults = (hosts: readonly number[]): readonly Checked[] => [
  { size: hosts.length, ring: 1, sums: 1, heat: 1, hosts },
]

/**
 * A line that is ended once it has printed its results; it is `fine` if there were any. For Debian's MPICH 4.0.2,
 * which may hang behind them on a busy machine, on bare nodes too, with two ranks a node every other time: in MPI_Finalize a rank that waits in PMI's barrier does not serve those that still
 * disconnect by UCX (pmodels/mpich pull request 6596). Which setting avoids it: none that we tried (MPIR_CVAR_NOLOCAL, UCX_TLS=tcp,self,
 * UCX_NET_DEVICES, UCX_UNIFIED_MODE, UCX_PROTO_ENABLE, UCX_KEEPALIVE_INTERVAL=inf, UCX_TCP_PUT_ENABLE=n, UCX_TCP_CONN_NB, every rank writing to every other before).
 */
export const untilResults = (line: string): string => `until_results ${line}`

/** `$!` is the process substitution, which is the command itself. */
const untilResultsFunction = `until_results() {
  local found pid
  exec 9< <(exec timeout 100 "$@" 2>&1)
  pid=$!
  while read -r found <&9; do echo "$found"; [[ $found == {* ]] && break; done
  kill $pid 2>/dev/null; wait $pid 2>/dev/null
  exec 9<&-
  [[ $found == {* ]]
}`

/** The lines, each with its name in front and its exit code behind it. With more ranks than CPUs, the libraries must not spin while they wait. */
export const launches = (lines: readonly Launch[]): string => `export OMPI_MCA_mpi_yield_when_idle=1
${untilResultsFunction}
${lines.map(({ name, line }) => `echo '== ${name}'\n${line}\necho "-> $?"`).join('\n')}
`

/** The same of the output, by name. */
export function launchedIn(output: string): Readonly<Record<string, Launched>> {
  const parts = output.split(/^== /m).slice(1)
  return Object.fromEntries(
    parts.map((part) => {
      const [name = '', ...lines] = part.split('\n')
      const results = lines.filter((line) => line.startsWith('{')).map((line) => checkedOf(line))
      return [name, { results, outcome: /^-> 0$/m.test(part) ? 'fine' : 'failed' }]
    }),
  )
}

function checkedOf(line: string): Checked {
  const { size, ring, sums, heat, hosts } = JSON.parse(line) as Omit<Checked, 'hosts'> & { hosts: readonly string[] }
  const names = [...new Set(hosts)]
  return { size, ring, sums, heat, hosts: hosts.map((host) => names.indexOf(host)) }
}
