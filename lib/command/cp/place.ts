// What an argument of `vmrm cp` names: a path here, or one in a VM (`JOB:path`, `JOB.N:path`).

export type Place =
  | { readonly side: 'here'; readonly path: string }
  | { readonly side: 'guest'; readonly job: string; readonly vm: number; readonly path: string; readonly label: string }

const inGuest = /^(b?[1-9]\d{0,9}(?:[_+]\d{1,10})?)(?:\.(\d{1,6}))?:(.*)$/s

/** A path here that looks like a place in a VM is written with `./` in front. */
export function parsePlace(text: string): Place {
  const match = inGuest.exec(text)
  const [, job, vm = '0', path = ''] = match ?? []
  if (job === undefined) return { side: 'here', path: text }
  return { side: 'guest', job, vm: Number(vm), path, label: text.slice(0, text.length - path.length) }
}
