import { Shares } from '@ecluse/core'

interface Waiter {
  readonly peer: string
  readonly go: () => void
}

/**
 * The messages that are looked at at the same time. They are refused early, at MAIL; those that came in meanwhile, since
 * receiving takes no place, wait for their turn.
 */
export class Turns {
  readonly #limit: () => number
  /** Of those that run and those that wait. */
  readonly #shares: Shares
  /** Of those that run. */
  readonly #running = new Map<string, number>()
  #total = 0
  /** In the order in which they came. */
  readonly #waiters = new Set<Waiter>()

  /** @param limit asked each time: it may change */
  constructor(limit: () => number) {
    this.#limit = limit
    this.#shares = new Shares(limit)
  }

  /** Whether this peer may begin to send a message. */
  mayBegin(peer: string): boolean {
    return this.#shares.mayTake(peer, performance.now())
  }

  /**
   * Absent: it is this message's turn. Otherwise it is when the promise is fulfilled; it rejects when the signal aborts.
   * Either way {@link leave} has to follow, once.
   */
  enter(peer: string, signal: AbortSignal): Promise<void> | undefined {
    this.#shares.take(peer, performance.now())
    if (this.#total >= this.#limit() || this.#waiters.size > 0) return this.#wait(peer, signal)
    this.#start(peer)
    return undefined
  }

  /** @param hadTurn false: it has only waited */
  leave(peer: string, hadTurn: boolean): void {
    this.#shares.release(peer)
    if (!hadTurn) return
    this.#total--
    const left = (this.#running.get(peer) ?? 0) - 1
    if (left > 0) this.#running.set(peer, left)
    else this.#running.delete(peer)
    while (this.#total < this.#limit() && this.#waiters.size > 0) this.#next().go()
  }

  #start(peer: string): void {
    this.#total++
    this.#running.set(peer, (this.#running.get(peer) ?? 0) + 1)
  }

  /** The first one of the peer with the fewest running. */
  #next(): Waiter {
    let next: Waiter | undefined
    let fewest = Infinity
    for (const waiter of this.#waiters) {
      const running = this.#running.get(waiter.peer) ?? 0
      if (running >= fewest) continue
      next = waiter
      fewest = running
    }
    if (!next) throw new TypeError('nobody waits')
    return next
  }

  async #wait(peer: string, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#waiters.delete(waiter)
        reject(signal.reason as Error)
      }
      const waiter: Waiter = {
        peer,
        go: () => {
          this.#waiters.delete(waiter)
          signal.removeEventListener('abort', abort)
          this.#start(peer)
          resolve()
        },
      }
      if (signal.aborted) return reject(signal.reason as Error)
      signal.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
    })
  }
}

/** One message's turn: it begins at once or is awaited, and ends. */
export class Turn {
  readonly #turns: Turns
  readonly #peer: string
  #has: boolean
  /** Absent: it is its turn. Rejects when the signal aborts. */
  readonly awaited: Promise<void> | undefined

  constructor(turns: Turns, peer: string, signal: AbortSignal) {
    this.#turns = turns
    this.#peer = peer
    const wait = turns.enter(peer, signal)
    this.#has = wait === undefined
    this.awaited = wait && this.#await(wait)
    // Nobody may come to ask: the message may fail before.
    this.awaited?.catch(() => undefined)
  }

  end(): void {
    this.#turns.leave(this.#peer, this.#has)
  }

  async #await(wait: Promise<void>): Promise<void> {
    await wait
    this.#has = true
  }
}
