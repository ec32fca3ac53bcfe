import { Shares } from '@ecluse/core'

/** A connection, as far as its place is concerned. */
export interface Seated {
  /** IP address, or `unix`. */
  readonly peer: string
  /** When a message was last on it, or it was opened. */
  readonly usedAt: number
  /** A message is on it. */
  readonly busy: boolean
  /** Closes it; its place is given back at once. */
  giveWay(): void
}

/** Nobody gives way sooner: who has just come is about to speak. */
const UNUSED_MS = 2000

/** The places of a listener's connections. When they run out, those without a message go first. */
export class Places<T extends Seated> {
  readonly #limit: number
  readonly #shares: Shares
  readonly #seated = new Set<T>()
  #refused = false

  constructor(limit: number) {
    this.#limit = limit
    this.#shares = new Shares(() => limit)
  }

  /** Whether it has a place now. Its peer takes none from one that has less. */
  take(connection: T, now: number): boolean {
    const { peer } = connection
    if (!this.#shares.mayTake(peer, now)) {
      const unused = this.#longestUnused(peer, now)
      if (!unused) {
        this.#refused = true
        return false
      }
      unused.giveWay()
    }
    this.#shares.take(peer, now)
    this.#seated.add(connection)
    return true
  }

  /** Gives its place back, if it has one. */
  release(connection: T): void {
    if (this.#seated.delete(connection)) this.#shares.release(connection.peer)
  }

  /** Whether all are taken, or somebody was refused since this was last asked. */
  ranOut(): boolean {
    const ran = this.#refused || this.#shares.taken >= this.#limit
    this.#refused = false
    return ran
  }

  #longestUnused(peer: string, now: number): T | undefined {
    const least = this.#shares.takenBy(peer)
    let found: T | undefined
    for (const connection of this.#seated) {
      if (connection.busy || now - connection.usedAt < UNUSED_MS) continue
      if (connection.peer !== peer && this.#shares.takenBy(connection.peer) <= least) continue
      if (!found || connection.usedAt < found.usedAt) found = connection
    }
    return found
  }
}
