const WINDOW_MS = 60_000

/**
 * Counts what is refused: so many in a minute are answered and logged one by one, the others are only counted, and who
 * sends them is told to slow down. A link that is right is never among them.
 */
export class RefusalRate {
  readonly #limit: number
  #since = 0
  #count = 0

  /** @param limit refusals in a minute */
  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * @param now milliseconds of any steady clock
   * @returns whether this one is within the limit, and how many of the minute before were not
   */
  refuse(now: number): { readonly within: boolean; readonly left: number } {
    const over = now - this.#since >= WINDOW_MS
    const left = over ? Math.max(0, this.#count - this.#limit) : 0
    if (over) {
      this.#since = now
      this.#count = 0
    }
    this.#count++
    return { within: this.#count <= this.#limit, left }
  }
}
