/** A place that was asked for counts as wanted for so long. */
const WANTED_MS = 60_000
/** Names remembered; those that hold nothing leave first. */
const MAX_NAMES = 1000

interface Holder {
  taken: number
  askedAt: number
}

/**
 * A number of places that several names share. A name that is alone may take them all. While others hold or want some,
 * half of the places are kept for all of them, in equal parts: what a name has not taken of its part stays free for it.
 */
export class Shares {
  readonly #limit: () => number
  readonly #holders = new Map<string, Holder>()
  #taken = 0

  /** @param limit asked each time: it may change */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  /** Places taken, by all. */
  get taken(): number {
    return this.#taken
  }

  takenBy(name: string): number {
    return this.#holders.get(name)?.taken ?? 0
  }

  /**
   * Whether the name may take one more now. Asking makes it one that wants places.
   *
   * @param now milliseconds of any steady clock
   */
  mayTake(name: string, now: number): boolean {
    const holder = this.#holder(name, now)
    holder.askedAt = now
    const limit = this.#limit()
    const free = limit - this.#taken
    if (free <= 0) return false
    // Alone, or so many that there is no whole place for each.
    if (this.#holders.size === 1 || limit / 2 < this.#holders.size) return true
    const wanting = this.#wanting(now)
    const part = Math.floor(limit / 2 / wanting.length)
    if (holder.taken < part) return true
    let kept = 0
    for (const other of wanting) if (other !== holder) kept += Math.max(0, part - other.taken)
    return free > kept
  }

  /** Takes one, whether it may or not. */
  take(name: string, now: number): void {
    this.#holder(name, now).taken++
    this.#taken++
  }

  /** Gives back one that was taken. */
  release(name: string): void {
    const holder = this.#holders.get(name)
    if (!holder || holder.taken === 0) throw new TypeError('a place was given back that nobody had taken')
    holder.taken--
    this.#taken--
  }

  #holder(name: string, now: number): Holder {
    let holder = this.#holders.get(name)
    if (!holder) {
      if (this.#holders.size >= MAX_NAMES) this.#forget()
      holder = { taken: 0, askedAt: now }
      this.#holders.set(name, holder)
    }
    return holder
  }

  #wanting(now: number): Holder[] {
    const wanting: Holder[] = []
    for (const [name, holder] of this.#holders) {
      if (holder.taken > 0 || now - holder.askedAt < WANTED_MS) wanting.push(holder)
      else this.#holders.delete(name)
    }
    return wanting
  }

  #forget(): void {
    for (const [name, { taken }] of this.#holders) if (taken === 0) this.#holders.delete(name)
  }
}
