import { FilterError } from '@ecluse/core'

/** A place in the line of those who work on one message. */
export interface Turn {
  /**
   * Waits until no earlier one works on the same recipients. Gives whether it had to wait.
   *
   * @throws FilterError E_ABORTED when `signal` aborts first; the turn is then still to be left.
   */
  wait(signal: AbortSignal): Promise<boolean>
  /** Lets the next ones go on; once more does nothing. */
  leave(): void
}

interface Place {
  readonly recipients: ReadonlySet<string>
  /** Earlier ones with a recipient in common. */
  readonly waitsFor: Set<Place>
  go?: () => void
}

/** First come, first served, for each message; those without a common recipient do not meet. */
export class Turns {
  readonly #lines = new Map<string, Place[]>()

  enter(key: string, recipients: ReadonlySet<string>): Turn {
    const line = this.#lines.get(key) ?? []
    const waitsFor = new Set(line.filter((earlier) => haveCommon(earlier.recipients, recipients)))
    const place: Place = { recipients, waitsFor }
    line.push(place)
    this.#lines.set(key, line)
    return {
      async wait(signal) {
        if (waitsFor.size === 0) return false
        await abortable(
          new Promise<void>((resolve) => {
            place.go = resolve
          }),
          signal,
        )
        return true
      },
      leave: () => this.#leave(key, place),
    }
  }

  #leave(key: string, place: Place): void {
    const line = this.#lines.get(key) ?? []
    const left = line.filter((other) => other !== place)
    if (left.length === 0) this.#lines.delete(key)
    else this.#lines.set(key, left)
    for (const other of left) {
      if (other.waitsFor.delete(place) && other.waitsFor.size === 0) other.go?.()
    }
  }
}

/**
 * What `promise` gives, unless the signal aborts first.
 *
 * @throws FilterError E_ABORTED
 */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(aborted(signal))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** E_ABORTED, with what the signal aborted with as its cause. */
export function aborted(signal: AbortSignal): FilterError {
  return new FilterError('E_ABORTED', 'given up while waiting for the ledger', { cause: signal.reason })
}

function haveCommon(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  const [small, large] = a.size < b.size ? [a, b] : [b, a]
  for (const each of small) if (large.has(each)) return true
  return false
}
