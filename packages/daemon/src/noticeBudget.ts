const DAY_MS = 86_400_000

/** How many mails may still be sent to senders: a sliding window of 24 hours, in memory. */
export class NoticeBudget {
  readonly #limit: number
  readonly #now: () => number
  /** When those were taken that count, oldest first. */
  #taken: number[] = []

  /** @param now milliseconds; they never go back */
  constructor(limit: number, now: () => number) {
    this.#limit = limit
    this.#now = now
  }

  /** Whether there is room for one more; then it counts. */
  take(): boolean {
    const since = this.#now() - DAY_MS
    const expired = this.#taken.findIndex((at) => at > since)
    this.#taken = expired === -1 ? [] : this.#taken.slice(expired)
    if (this.#taken.length >= this.#limit) return false
    this.#taken.push(this.#now())
    return true
  }

  /** What was taken last has not been sent. */
  giveBack(): void {
    this.#taken.pop()
  }
}
