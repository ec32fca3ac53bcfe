/** When it opens, and how long it stays so. */
export interface CircuitLimits {
  /** Failures in a row. */
  readonly failures: number
  readonly retryAfterMs: number
}

/** Open: nothing is asked. After `retryAfterMs` one question is let through, and its answer closes it. */
export class RedisCircuit {
  readonly #limits: CircuitLimits
  readonly #now: () => number
  #failures = 0
  #retryAt = 0
  #isTrying = false

  /** @param now milliseconds of a clock that does not jump */
  constructor(limits: CircuitLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  get isOpen(): boolean {
    return this.#failures >= this.#limits.failures
  }

  /** Whether a question may be asked now. */
  get admits(): boolean {
    return !this.isOpen || (!this.#isTrying && this.#now() >= this.#retryAt)
  }

  /** A question is asked; `succeeded`, `failed` or `unsure` follows. */
  begin(): void {
    this.#isTrying = this.isOpen
  }

  succeeded(): void {
    this.#failures = 0
    this.#isTrying = false
  }

  /** The answer says nothing of what this is about. */
  unsure(): void {
    this.#isTrying = false
  }

  failed(): void {
    this.#failures++
    this.#isTrying = false
    this.#retryAt = this.#now() + this.#limits.retryAfterMs
  }
}
