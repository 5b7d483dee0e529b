// How many frames a peer may make us handle: a flood of tiny frames is slowed, never refused. It owns no socket and no data.

const sliceMs = 50

/**
 * A budget of `framesPerSecond`, given out in slices of 50 ms. Whoever reads a peer calls `spend` for each frame and stops
 * reading when it answers 'exhausted', until `resume` is called at the end of the slice.
 */
export class FrameBudget {
  #left: number
  #timer: NodeJS.Timeout | undefined
  readonly #perSlice: number
  readonly #resume: () => void

  constructor(options: { framesPerSecond: number; resume: () => void }) {
    this.#perSlice = Math.max(1, Math.ceil((options.framesPerSecond * sliceMs) / 1000))
    this.#left = this.#perSlice
    this.#resume = options.resume
  }

  spend(): 'fine' | 'exhausted' {
    this.#left -= 1
    // The slice starts with its first frame, so that a silent peer needs no timer.
    this.#timer ??= setTimeout(() => this.#endSlice(), sliceMs)
    return this.#left > 0 ? 'fine' : 'exhausted'
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #endSlice(): void {
    this.#timer = undefined
    const wasExhausted = this.#left <= 0
    // What one chunk overdrew is paid back; a single chunk never costs more than two slices.
    this.#left = Math.max(this.#left, -this.#perSlice) + this.#perSlice
    if (this.#left <= 0) this.#timer = setTimeout(() => this.#endSlice(), sliceMs)
    else if (wasExhausted) this.#resume()
  }
}
