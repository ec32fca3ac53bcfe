import { FilterError } from '@ecluse/core'
import type { ReinjectOptions } from './reinject.ts'
import { ReinjectConnection, type ConnectionOwner } from './reinjectConnection.ts'
import { aborted } from './reinjectTransaction.ts'

interface Waiter {
  readonly resolve: (connection: ReinjectConnection) => void
  readonly reject: (error: FilterError) => void
}

/**
 * Keeps at most `connections` connections open. Whoever waits is served in order; connections are opened for those
 * who wait, not by them, so that the first one that gets free or is set up goes to the first in the queue.
 */
export class ReinjectPool implements ConnectionOwner {
  readonly #options: ReinjectOptions
  /** The last one used is the first one used again: those that are not needed grow old and leave. */
  readonly #idle: ReinjectConnection[] = []
  readonly #opening = new Set<ReinjectConnection>()
  readonly #open = new Set<ReinjectConnection>()
  readonly #waiters = new Set<Waiter>()
  #closed = false
  #onEmpty: (() => void) | undefined

  constructor(options: ReinjectOptions) {
    this.#options = options
  }

  /**
   * A connection that is ready; it comes back by itself when its dialogue ends.
   *
   * @throws FilterError E_ABORTED, or that of the connection attempt when none is open.
   */
  async acquire(signal: AbortSignal): Promise<ReinjectConnection> {
    if (signal.aborted) throw aborted(signal)
    if (this.#closed) throw new FilterError('E_REINJECT_CONNECT', 'the reinjector is closed')
    const idle = this.#idle.pop()
    if (idle) return idle
    return await new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiters.delete(waiter)
        reject(aborted(signal))
      }
      const waiter: Waiter = {
        resolve: (connection) => {
          signal.removeEventListener('abort', abort)
          resolve(connection)
        },
        reject: (error) => {
          signal.removeEventListener('abort', abort)
          reject(error)
        },
      }
      signal.addEventListener('abort', abort, { once: true })
      this.#waiters.add(waiter)
      this.#grow()
    })
  }

  /** The peer has closed a kept connection: it will have closed the other ones that wait, too. */
  dismissIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.leave()
  }

  onReady(connection: ReinjectConnection): void {
    this.#opening.delete(connection)
    this.#open.add(connection)
    const { messagesPerConnection = Number.POSITIVE_INFINITY } = this.#options.timeouts
    if (connection.used >= messagesPerConnection) return connection.leave()
    const waiter = this.#nextWaiter()
    if (waiter) return waiter.resolve(connection)
    if (this.#closed) return connection.leave()
    connection.kept = true
    this.#idle.push(connection)
  }

  onClosed(connection: ReinjectConnection, error: FilterError): void {
    const wasOpening = this.#opening.delete(connection)
    this.#open.delete(connection)
    const idle = this.#idle.indexOf(connection)
    if (idle !== -1) this.#idle.splice(idle, 1)
    if (!wasOpening) this.#grow()
    // Nobody to wait for, and the next attempt would most likely end the same way. Where others are open, who waits
    // gets one of them, and no attempt follows at once: a peer that refuses would be asked without end.
    else if (this.#open.size === 0) this.#rejectAll(error)
    this.#settleClose()
  }

  /** Idle connections leave at once, the others when they are done; who waits already is still served. */
  async close(): Promise<void> {
    this.#closed = true
    this.dismissIdle()
    await new Promise<void>((resolve) => {
      const before = this.#onEmpty
      this.#onEmpty = () => {
        before?.()
        resolve()
      }
      this.#settleClose()
    })
  }

  #settleClose(): void {
    if (!this.#closed || this.#open.size + this.#opening.size > 0) return
    this.#onEmpty?.()
  }

  #grow(): void {
    const { connections } = this.#options
    while (this.#opening.size < this.#waiters.size && this.#opening.size + this.#open.size < connections) {
      const connection = new ReinjectConnection(this.#options, this)
      this.#opening.add(connection)
      connection.open()
    }
  }

  #nextWaiter(): Waiter | undefined {
    const [waiter] = this.#waiters
    if (waiter) this.#waiters.delete(waiter)
    return waiter
  }

  #rejectAll(error: FilterError): void {
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const waiter of waiters) waiter.reject(error)
  }
}
