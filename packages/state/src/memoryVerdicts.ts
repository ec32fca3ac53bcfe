import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { readVerdict, writeVerdict, type RememberedVerdict } from './verdictValue.ts'

/** How much is remembered in the memory of a process. */
export interface MemoryLimits {
  /** 0: nothing. */
  readonly maxEntries: number
  readonly maxBytes: number
}

/** What an entry takes beside its text: the key, the heads of both strings, the lists of the cache. */
const OVERHEAD_BYTES = 240

/**
 * Verdicts in the memory of this process; those that were used longest ago go first. They are kept as text under a
 * digest of their key: which takes much less than the objects, and memory in use is what V8 lets garbage grow by. The only
 * module that knows lru-cache, of which it relies on order, count and size; time is our own affair, so that a clock can
 * be given.
 */
export class MemoryVerdicts {
  #entries: LRUCache<string, string> | undefined

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
    if (!this.#entries) return undefined
    const place = placeOf(key)
    const text = this.#entries.get(place)
    if (text === undefined) return undefined
    const remembered = readVerdict(text)
    if (remembered && remembered.expiresAt > now) return remembered
    this.#entries.delete(place)
    return undefined
  }

  set(key: string, remembered: RememberedVerdict): void {
    this.#entries?.set(placeOf(key), writeVerdict(remembered))
  }

  /** Keeps what there is room for, the newest. */
  resize(limits: MemoryLimits): void {
    const before = this.#entries
    this.#entries = open(limits)
    for (const [place, text] of before ? [...before.entries()].toReversed() : [])
      this.#entries?.set(place, text)
  }
}

/** Short, and one piece: a key is some 200 characters, put together of pieces that would be held with it. */
function placeOf(key: string): string {
  return hash('sha256', key, 'base64')
}

function open({ maxEntries, maxBytes }: MemoryLimits): LRUCache<string, string> | undefined {
  // The library takes room for `max` entries at once: no more than can ever be there.
  const max = Math.min(maxEntries, Math.ceil(maxBytes / OVERHEAD_BYTES))
  if (max < 1) return undefined
  return new LRUCache({ max, maxSize: maxBytes, sizeCalculation: (text) => text.length + OVERHEAD_BYTES })
}
