import { isDeepStrictEqual } from 'node:util'
import type { ConfiguredScanner, Rules } from '@ecluse/core'
import type { VerdictLimits } from '@ecluse/state'

/** What a reload exchanges; everything else that a daemon was started with stands until it ends. */
export interface ReloadableOptions {
  readonly alertHeader: string
  readonly scanners: readonly ConfiguredScanner[]
  readonly rules: Rules
  /** How much of what scanners found is remembered, and how long; absent: nothing. */
  readonly cache?: VerdictLimits
  readonly limits: {
    readonly concurrency: number
    readonly spoolBytes?: number
    readonly deadlineMs: number
    /** How often one message may make a scanner fail; 0, or absent: without end. */
    readonly scanFailures?: number
  }
  /** How long `close` may take to finish what runs. */
  readonly drainMs: number
}

/**
 * Reads what shall be from here on: all of it, or only what is new. Called when it is its turn, with what is in force
 * then. A rejection changes nothing.
 */
export type ReadOptions = (current: ReloadableOptions) => Promise<Partial<ReloadableOptions>>

/** What a reload does to the daemon. */
export interface ReloadEffects {
  /** Puts them in force, all at once. */
  readonly apply: (options: ReloadableOptions) => void
  /** Frees scanners that have not been asked anything. */
  readonly abandon: (scanners: readonly ConfiguredScanner[]) => void
  readonly count: (result: 'ok' | 'error') => void
}

/** Reloads, one after the other. */
export class Reloader {
  #current: ReloadableOptions
  #last: Promise<void> = Promise.resolve()
  #stopped = false
  readonly #effects: ReloadEffects

  constructor(first: ReloadableOptions, effects: ReloadEffects) {
    this.#current = first
    this.#effects = effects
  }

  get current(): ReloadableOptions {
    return this.#current
  }

  /** From here on, nothing is reloaded, nor what is being read put in force. */
  stop(): void {
    this.#stopped = true
  }

  /**
   * @returns whether it is in force; false: the daemon ends
   * @throws what `read` threw
   */
  reload(read: ReadOptions): Promise<boolean> {
    const turn = this.#after(this.#last, read)
    this.#last = settled(turn)
    return turn
  }

  async #after(before: Promise<void>, read: ReadOptions): Promise<boolean> {
    await before
    if (this.#stopped) return false
    try {
      const change = await read(this.#current)
      const done = this.#put({ ...this.#current, ...change })
      if (done) this.#effects.count('ok')
      return done
    } catch (error) {
      this.#effects.count('error')
      throw error
    }
  }

  #put(given: ReloadableOptions): boolean {
    const before = this.#current.scanners
    const next = { ...given, scanners: given.scanners.map((scanner) => keep(scanner, before)) }
    const used = (list: readonly ConfiguredScanner[], of: ConfiguredScanner): boolean =>
      list.some(({ scanner }) => scanner === of.scanner)
    const abandon = (kept: readonly ConfiguredScanner[]): void => {
      this.#effects.abandon(given.scanners.filter((scanner) => !used(kept, scanner)))
    }
    if (this.#stopped) {
      abandon(before)
      return false
    }
    this.#effects.apply(next)
    this.#current = next
    abandon(next.scanners)
    return true
  }
}

/** The scanner as it is now configured, with the engine of the one before where that was made of the same values. */
function keep(next: ConfiguredScanner, before: readonly ConfiguredScanner[]): ConfiguredScanner {
  const same = before.find(
    ({ name, kind, options }) =>
      name === next.name &&
      kind === next.kind &&
      options !== undefined &&
      isDeepStrictEqual(options, next.options),
  )
  return same ? { ...next, scanner: same.scanner } : next
}

/** Fulfilled when it is over, in whatever way: whoever asked for it is told. */
async function settled(turn: Promise<unknown>): Promise<void> {
  try {
    await turn
  } catch {
    // Told to the caller.
  }
}
