// What can be wrong with a catalogue entry. The checks collect these; none of them throws for what it looks for.

export interface ImageProblem {
  /** `error`: VMs of this image cannot start, or not safely. `warning`: it works, but not as one may think. */
  readonly severity: 'error' | 'warning'
  readonly text: string
}

export const error = (text: string): ImageProblem => ({ severity: 'error', text })
export const warning = (text: string): ImageProblem => ({ severity: 'warning', text })
