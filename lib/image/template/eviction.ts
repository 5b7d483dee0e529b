// Which templates have to go when there is no room for all of them. Pure.

export interface Evictable {
  readonly key: string
  /** What it takes on the disk. */
  readonly bytes: number
  readonly usedMs: number
  /** `stale`: no VM of now could come from it any more. `held`: one is being cloned from it at this moment. */
  readonly state: 'fresh' | 'stale' | 'held'
}

/**
 * Those to remove so that the rest has at most `roomBytes`, in this order: stale ones, then those that were not used for the
 * longest time; of both the least recently used first. What is held stays, so the rest may be larger for a while.
 */
export function chooseEvictions(templates: readonly Evictable[], roomBytes: number): readonly string[] {
  const order = templates
    .filter(({ state }) => state !== 'held')
    .sort((a, b) => Number(b.state === 'stale') - Number(a.state === 'stale') || a.usedMs - b.usedMs)
  let bytes = templates.reduce((sum, template) => sum + template.bytes, 0)
  const chosen: string[] = []
  for (const template of order) {
    if (bytes <= roomBytes) break
    chosen.push(template.key)
    bytes -= template.bytes
  }
  return chosen
}
