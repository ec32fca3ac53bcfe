import { Shares } from '@ecluse/core'

interface Waiter {
  readonly peer: string
  readonly go: () => void
}

/** One message that waits for its turn. */
interface Wait {
  /** Fulfilled when it is its turn; rejects when the signal aborts; never settles once it was given up. */
  readonly done: Promise<void>
  /** Ends it. */
  giveUp(): void
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
   * Absent: it is this message's turn, and `onTurn` was called. Otherwise it is called when it is. Either way
   * {@link leave} has to follow, once.
   */
  enter(peer: string, onTurn: () => void, signal: AbortSignal): Wait | undefined {
    this.#shares.take(peer, performance.now())
    if (this.#total >= this.#limit() || this.#waiters.size > 0) return this.#wait({ peer, onTurn }, signal)
    this.#start(peer)
    onTurn()
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

  #wait({ peer, onTurn }: { readonly peer: string; readonly onTurn: () => void }, signal: AbortSignal): Wait {
    let giveUp = (): void => undefined
    const done = new Promise<void>((resolve, reject) => {
      const go = (): void => {
        giveUp()
        this.#start(peer)
        onTurn()
        resolve()
      }
      const waiter: Waiter = { peer, go }
      const abort = (): void => {
        giveUp()
        reject(signal.reason as Error)
      }
      giveUp = () => {
        this.#waiters.delete(waiter)
        signal.removeEventListener('abort', abort)
      }
      if (signal.aborted) return abort()
      signal.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
    })
    return { done, giveUp }
  }
}

/** One message's turn: it begins at once or is awaited, and ends. */
export class Turn {
  readonly #turns: Turns
  readonly #peer: string
  readonly #wait: Wait | undefined
  #has = false
  /** Absent: it is its turn. Rejects when the signal aborts. */
  readonly awaited: Promise<void> | undefined

  constructor(turns: Turns, peer: string, signal: AbortSignal) {
    this.#turns = turns
    this.#peer = peer
    const onTurn = (): void => {
      this.#has = true
    }
    this.#wait = turns.enter(peer, onTurn, signal)
    this.awaited = this.#wait?.done
    // Nobody may come to ask: the message may fail before.
    this.awaited?.catch(() => undefined)
  }

  /** Also for one that fails while it waits: it must not be given a place that nobody would give back. */
  end(): void {
    this.#wait?.giveUp()
    this.#turns.leave(this.#peer, this.#has)
  }
}
