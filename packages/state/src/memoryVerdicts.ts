import { LRUCache } from 'lru-cache'
import type { RememberedVerdict } from './verdictValue.ts'

/** How much is remembered in the memory of a process. */
export interface MemoryLimits {
  /** 0: nothing. */
  readonly maxEntries: number
  readonly maxBytes: number
}

/** What an entry takes beside its key and its text, roughly: objects, strings, the list of the cache. */
const OVERHEAD_BYTES = 400

interface Entry {
  readonly remembered: RememberedVerdict
  readonly sizeBytes: number
}

/**
 * Verdicts in the memory of this process; those that were used longest ago go first. The only module that knows
 * lru-cache, of which it relies on order, count and size; time is our own affair, so that a clock can be given.
 */
export class MemoryVerdicts {
  #entries: LRUCache<string, Entry> | undefined

  constructor(limits: MemoryLimits) {
    this.#entries = open(limits)
  }

  get size(): number {
    return this.#entries?.size ?? 0
  }

  get bytes(): number {
    return this.#entries?.calculatedSize ?? 0
  }

  /** @param now Unix milliseconds */
  get(key: string, now: number): RememberedVerdict | undefined {
    const remembered = this.#entries?.get(key)?.remembered
    if (!remembered || remembered.expiresAt > now) return remembered
    this.#entries?.delete(key)
    return undefined
  }

  /** @param textBytes length of the verdict as text */
  set(key: string, remembered: RememberedVerdict, textBytes: number): void {
    this.#entries?.set(key, { remembered, sizeBytes: key.length + textBytes + OVERHEAD_BYTES })
  }

  /** Keeps what there is room for, the newest. */
  resize(limits: MemoryLimits): void {
    const before = this.#entries
    this.#entries = open(limits)
    for (const [key, entry] of before ? [...before.entries()].toReversed() : [])
      this.#entries?.set(key, entry)
  }
}

function open({ maxEntries, maxBytes }: MemoryLimits): LRUCache<string, Entry> | undefined {
  // The library takes room for `max` entries at once: no more than can ever be there.
  const max = Math.min(maxEntries, Math.ceil(maxBytes / OVERHEAD_BYTES))
  if (max < 1) return undefined
  return new LRUCache({ max, maxSize: maxBytes, sizeCalculation: ({ sizeBytes }) => sizeBytes })
}
