// What takes a file in, in each VM: a shell script, since every image has a shell and none has a part of vmrm but the agent.
// Its arguments are data; the destination is whole or as it was.

/** Digits of the length that follows the file's bytes, so that a file that was cut off is known as one. */
const trailerDigits = 20

/** What a receiver says: `vmrm-sbcast NODE WORD`, and what each word means. */
const words: Readonly<Record<string, { readonly text: string; readonly number: number }>> = {
  EEXIST: { text: 'File exists', number: 17 },
  EISDIR: { text: 'Is a directory', number: 21 },
  ENOENT: { text: 'No such file or directory', number: 2 },
  ENOTDIR: { text: 'Not a directory', number: 20 },
  EACCES: { text: 'Permission denied', number: 13 },
  EIO: { text: 'Input/output error', number: 5 },
}

/** Behind the file's bytes on every receiver's stdin. */
export function trailerOf(lengthBytes: number): string {
  return String(lengthBytes).padStart(trailerDigits, '0')
}

const script = `
dest=$1 mode=$2 atime=$3 mtime=$4 whenthere=$5
say() { echo "vmrm-sbcast \${SLURMD_NODENAME:-VM} $1"; exit 0; }
leave() { cat >/dev/null; say "$1"; }
[ "$whenthere" = fail ] && { [ -e "$dest" ] || [ -h "$dest" ]; } && leave EEXIST
[ -d "$dest" ] && leave EISDIR
folder=\${dest%/*}; folder=\${folder:-/}
[ -e "$folder" ] || leave ENOENT
[ -d "$folder" ] || leave ENOTDIR
[ -w "$folder" ] && [ -x "$folder" ] || leave EACCES
umask 077
temporary="$dest.vmrm-$$-\${SLURM_PROCID:-0}"
trap 'rm -f -- "$temporary"' EXIT
trap 'exit 1' HUP INT TERM
set -C
cat >"$temporary" || leave EIO
set +C
all=$(wc -c <"$temporary") || say EIO
length=$((all - ${trailerDigits}))
[ "$length" -ge 0 ] || say EIO
told=$(tail -c ${trailerDigits} "$temporary") || say EIO
[ "$told" = "$(printf '%0${trailerDigits}d' "$length")" ] || say EIO
dd if=/dev/null of="$temporary" bs=1 seek="$length" 2>/dev/null || say EIO
chmod -- "$mode" "$temporary" || say EIO
if [ -n "$mtime" ]; then touch -a -d "@$atime" -- "$temporary" && touch -m -d "@$mtime" -- "$temporary" || say EIO; fi
mv -f -- "$temporary" "$dest" || say EACCES
say done
`

export interface Reception {
  /** Absolute, in the guest. */
  readonly destination: string
  readonly mode: number
  /** Seconds since 1970; absent: the time it arrives. */
  readonly times?: { readonly atime: string; readonly mtime: string }
  readonly whenThere: 'fail' | 'replace'
}

export function receiverCommand({ destination, mode, times, whenThere }: Reception): readonly string[] {
  const permissions = (mode & 0o7777).toString(8).padStart(4, '0')
  const { atime = '', mtime = '' } = times ?? {}
  return ['/bin/sh', '-c', script, 'sbcast', destination, permissions, atime, mtime, whenThere]
}

export interface Reports {
  /** How many receivers have the file. */
  readonly done: number
  /** What the others said, as sbcast words it. */
  readonly failures: readonly string[]
  /** sbcast's: the errno of a failure. */
  readonly exitCode: number
}

export function readReports(output: string): Reports {
  const reports = [...output.matchAll(/^vmrm-sbcast (\S+) ([A-Za-z]+)$/gm)]
  const failed = reports.filter(([, , word]) => word !== 'done')
  const failures = failed.map(([, node, word = '']) => `REQUEST_FILE_BCAST(${node}): ${words[word]?.text ?? word}`)
  const [, , first = 'EIO'] = failed[0] ?? []
  const exitCode = failed.length === 0 ? 0 : (words[first]?.number ?? 1)
  return { done: reports.length - failed.length, failures: [...new Set(failures)], exitCode }
}
