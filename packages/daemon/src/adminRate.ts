const HOUR_MS = 3_600_000

/** Viruses that the administrator hears of in one mail, since there were too many for single ones. */
export interface HeldNotices<T> {
  /** The first ones, as many as one mail shows. */
  readonly shown: readonly T[]
  /** How many more there were. */
  readonly more: number
}

/** Lets single mails to the administrator through up to a rate, and holds back the others for one mail. */
export class AdminRate<T> {
  readonly #perHour: number
  readonly #keep: number
  #sent: number[] = []
  #held: T[] = []
  #more = 0
  #dueAt: number | undefined

  /** @param keep how many of those that are held back are remembered */
  constructor(perHour: number, keep: number) {
    this.#perHour = perHour
    this.#keep = keep
  }

  /** When what is held back shall be sent, in the milliseconds of {@link admit}; absent: nothing is. */
  get dueAt(): number | undefined {
    return this.#dueAt
  }

  /** Whether a mail about this alone may be sent now; otherwise it is held back. */
  admit(item: T, nowMs: number): boolean {
    this.#sent = this.#sent.filter((at) => at > nowMs - HOUR_MS)
    if (this.#dueAt === undefined && this.#sent.length < this.#perHour) {
      this.#sent.push(nowMs)
      return true
    }
    this.#dueAt ??= nowMs + HOUR_MS
    if (this.#held.length < this.#keep) this.#held.push(item)
    else this.#more++
    return false
  }

  /** What was held back, and holds back nothing any more; absent: there is nothing. */
  flush(): HeldNotices<T> | undefined {
    if (this.#dueAt === undefined) return undefined
    const held = { shown: this.#held, more: this.#more }
    this.#held = []
    this.#more = 0
    this.#dueAt = undefined
    return held
  }
}
