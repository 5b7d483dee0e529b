// How scontrol is told of one job alone. By its plain number it takes an array's last task for the whole array, and the first
// component of a heterogeneous job for all of them (Slurm 22.05). Pure.

/** What squeue --format prints in lines that selectorOf() reads: a job's own number, and what it is called. */
export const nameFormat = '%A|%i'

/** `12`, `10_3` or `7+1`; undefined if the job is not there, or is what has not begun of an array: `10_[4-9]`. */
export function selectorOf(text: string, job: number): string | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`${job}|`))
  const name = line?.slice(`${job}|`.length).trim()
  return name !== undefined && /^\d+(?:[_+]\d+)?$/.test(name) ? name : undefined
}

/** Slurm requeues a heterogeneous job as a whole only, and takes its first component's number for it. */
export function requeuable(selector: string): string {
  return selector.replace(/\+\d+$/, '')
}
