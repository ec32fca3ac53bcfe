import type { Attempt, Ledger, LedgerReport, LedgerResult } from './ledger.ts'

/**
 * Two ledgers as one: `own`, without which nothing works, and `shared`, which other instances know too and which may
 * be away at any time. Everything is written to both, and what either of them knows counts.
 *
 * It throws what `own` throws, and E_LEDGER where another instance does not come to an end with the message.
 */
export function createSharedLedger(own: Ledger, shared: Ledger): Ledger {
  return {
    async prepare(): Promise<LedgerReport> {
      const [report] = await Promise.all([own.prepare(), shared.prepare()])
      return report
    },
    async begin(key, recipients, signal) {
      const attempt = await own.begin(key, recipients, signal)
      try {
        return new SharedAttempt(attempt, await shared.begin(key, recipients, signal))
      } catch (err) {
        attempt.end()
        throw err
      }
    },
    check: async () => await own.check(),
    get entries() {
      return own.entries
    },
    async close() {
      await Promise.all([own.close(), shared.close()])
    },
  }
}

class SharedAttempt implements Attempt {
  readonly done: ReadonlyMap<string, LedgerResult>
  readonly joined: boolean
  readonly #own: Attempt
  readonly #shared: Attempt

  constructor(own: Attempt, shared: Attempt) {
    this.#own = own
    this.#shared = shared
    // Where both know a recipient, ours is what we have answered before.
    this.done = shared.done.size === 0 ? own.done : new Map([...shared.done, ...own.done])
    this.joined = own.joined || shared.joined
  }

  reservedId(recipients: Iterable<string>): string | undefined {
    const wanted = [...recipients]
    return this.#own.reservedId(wanted) ?? this.#shared.reservedId(wanted)
  }

  async reserve(id: string, recipients: Iterable<string>): Promise<void> {
    const wanted = [...recipients]
    await both(this.#own.reserve(id, wanted), this.#shared.reserve(id, wanted))
  }

  async record(results: ReadonlyMap<string, LedgerResult>): Promise<void> {
    await both(this.#own.record(results), this.#shared.record(results))
  }

  end(): void {
    this.#own.end()
    this.#shared.end()
  }
}

/** Both to their end, also where one of them fails: what was done shall be remembered wherever it can. */
async function both(own: Promise<void>, shared: Promise<void>): Promise<void> {
  const [first, second] = await Promise.allSettled([own, shared])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'rejected') throw second.reason
}
