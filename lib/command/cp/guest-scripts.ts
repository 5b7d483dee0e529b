// What runs in the guest for `vmrm cp`: sh and tar, which every image has. Paths are arguments, never parts of a script.

const complain = `complain() { printf 'vmrm: %s: %s\\n' "$1" "$2" >&2; }`

/**
 * Arguments: label, what comes (`file`, `folder` or `many`), path. Prints `folder` where the path is one, or `name` where it is to be
 * the copy's own name; then takes an archive from stdin, in that folder or the one around the name.
 */
export const receiveScript = `${complain}
label=$1 what=$2 d=\${3:-.} CDPATH=
cd 2>/dev/null
if [ -d "$d" ]; then
  cd -- "$d" 2>/dev/null || { complain "$label$d" 'Permission denied'; exit 1; }
  echo folder
  exec tar -xpf -
fi
p=\${d%/*}
[ "$p" = "$d" ] && p=.
[ -n "$p" ] || p=/
if [ "$what" != file ] && [ -e "$d" ]; then complain "$label$d" 'Not a directory'; exit 1; fi
if [ "$what" = many ] || [ ! -d "$p" ] || [ "$d" != "\${d%/}" ]; then complain "$label$d" 'No such file or directory'; exit 1; fi
cd -- "$p" 2>/dev/null || { complain "$label$d" 'Permission denied'; exit 1; }
echo name
exec tar -xpf -
`

/** Arguments: label, `r` or nothing, paths. Writes one archive for each path to stdout, links replaced by what they lead to. */
export const sendScript = `${complain}
label=$1 r=$2 s=0 CDPATH=
shift 2
cd 2>/dev/null
for f do
  [ -n "$f" ] || f=.
  while [ "$f" != / ] && [ "$f" != "\${f%/}" ]; do f=\${f%/}; done
  if [ ! -e "$f" ]; then complain "$label$f" 'No such file or directory'; s=1; continue; fi
  if [ -d "$f" ]; then
    if [ -z "$r" ]; then complain "$label$f" 'is a directory (not copied without -r)'; s=1; continue; fi
  elif [ ! -f "$f" ]; then complain "$label$f" 'not a regular file'; s=1; continue; fi
  p=. b=$f
  case $f in */*) p=\${f%/*}/ b=\${f##*/} ;; esac
  case $b in '' | . | ..) p=$f b=. ;; esac
  (cd -- "$p" && exec tar -chf - "./$b") || s=1
done
exit $s
`

/** The last part of a path as the script above takes it apart; `.` for a folder's contents. */
export function baseName(path: string): string {
  const base = path.replace(/\/+$/, '').split('/').at(-1) ?? ''
  return base === '' || base === '.' || base === '..' ? '.' : base
}
