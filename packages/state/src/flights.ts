/**
 * How something that several wait for ended: with a value; `failed`, and would for the others; `again`, it came to no
 * end that says anything about the others.
 */
export type FlightEnd<T> = { readonly value: T } | 'failed' | 'again'

/** Work that is being done for one key, and that others may wait for. */
export interface Flight<T> {
  /**
   * The value is known, and is being made safe: who waited before gets it; who comes from here on hears `again` when that
   * is over.
   */
  settle(): void
  /** It is over. Once; what comes later is not heard. */
  end(end: FlightEnd<T>): void
  /** Waits for the end: `late`, so long and no longer; `aborted`, the signal did. Others wait on. */
  wait(ms: number, signal: AbortSignal): Promise<FlightEnd<T> | 'late' | 'aborted'>
}

/** One piece of work for each key at a time: whoever comes second may wait for the first. */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>()

  /** @returns absent: nobody does it */
  get(key: string): Flight<T> | undefined {
    return this.#flights.get(key)
  }

  /** Begins it, in place of one that runs: that one goes on for those who wait for it. */
  begin(key: string): Flight<T> {
    const flight = createFlight<T>(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    })
    this.#flights.set(key, flight)
    return flight
  }
}

function createFlight<T>(onEnd: () => void): Flight<T> {
  type Listener = (end: FlightEnd<T>) => void
  const early = new Set<Listener>()
  const late = new Set<Listener>()
  let settling = false
  let over = false
  return {
    settle() {
      settling = true
    },
    end(end) {
      if (over) return
      over = true
      onEnd()
      for (const listener of early) listener(end)
      for (const listener of late) listener(typeof end === 'string' ? end : 'again')
    },
    wait: (ms, signal) =>
      new Promise((resolve) => {
        const listeners = settling ? late : early
        const leave = (end: FlightEnd<T> | 'late' | 'aborted'): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', abort)
          listeners.delete(leave)
          resolve(end)
        }
        const abort = (): void => leave('aborted')
        const timer = setTimeout(() => leave('late'), ms)
        if (signal.aborted) return abort()
        if (over) return leave('again')
        signal.addEventListener('abort', abort, { once: true })
        listeners.add(leave)
      }),
  }
}
