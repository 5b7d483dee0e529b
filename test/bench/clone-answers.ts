// What user code in a VM says of the machine it is on, and whether many such answers are those of the VMs that were planned.
// Pure: it only has the program as text.

/** A line with what tells machines apart; the bytes are the guest's own. Without single quotes: it is quoted by them. */
export const factsScript = [
  'PATH=$PATH:/usr/sbin:/sbin',
  'read -r name </proc/sys/kernel/hostname',
  'for each in /sys/class/net/e*/address; do read -r mac <"$each"; done',
  'read -r id </etc/machine-id',
  'bytes=$(od -An -v -tx1 -N16 /dev/urandom)',
  'address=$(ip -4 -o addr show scope global)',
  'echo "answer name=$name mac=$mac machine-id=$id bytes=$bytes address=$address"',
].join('; ')

export const factsArgv = ['sh', '-c', factsScript] as const

export interface PlannedMachine {
  readonly hostname: string
  readonly address: string
  readonly mac: string
  readonly machineId: string
}

export interface Answer extends PlannedMachine {
  /** 16 bytes in hexadecimal digits. */
  readonly bytes: string
}

/** One answer for each line of them; what a line lacks is empty. */
export function parseAnswers(text: string): readonly Answer[] {
  const lines = text.split('\n').filter((line) => line.includes('answer name='))
  return lines.map((line) => {
    const found = (pattern: RegExp) => pattern.exec(line)?.[1] ?? ''
    return {
      hostname: found(/ name=(\S+)/),
      mac: found(/ mac=([0-9a-f:]+)/),
      machineId: found(/ machine-id=([0-9a-f]+)/),
      bytes: found(/ bytes=([0-9a-f ]+) address=/).replaceAll(' ', ''),
      address: found(/ inet ([0-9.]+)/),
    }
  })
}

/** Sentences; none where each machine has answered once, as planned, and no two have the same bytes. */
export function problemsOf(answers: readonly Answer[], planned: readonly PlannedMachine[]): readonly string[] {
  const problems: string[] = []
  if (answers.length !== planned.length) problems.push(`${answers.length} answers of ${planned.length} machines`)
  for (const machine of planned) {
    const answer = answers.find(({ hostname }) => hostname === machine.hostname)
    if (answer === undefined) problems.push(`no answer of ${machine.hostname}`)
    for (const fact of ['address', 'mac', 'machineId'] as const) {
      if (answer !== undefined && answer[fact] !== machine[fact])
        problems.push(`${machine.hostname} says ${fact} ${answer[fact] || 'nothing'}, planned is ${machine[fact]}`)
    }
  }
  for (const fact of ['hostname', 'address', 'mac', 'machineId', 'bytes'] as const) {
    const different = new Set(answers.map((answer) => answer[fact])).size
    if (different < answers.length) problems.push(`${answers.length} answers have ${different} different ${fact}`)
  }
  for (const { hostname, bytes } of answers)
    if (!/^[0-9a-f]{32}$/.test(bytes)) problems.push(`${hostname || 'a machine'} has not drawn 16 bytes`)
  return problems
}
