import { isComplete, type ScanRequest, type Verdict } from '@ecluse/core'
import { MemoryVerdicts, type MemoryLimits } from './memoryVerdicts.ts'
import type { SharedCache, SharedValue } from './sharedCache.ts'
import { verdictPlace, type VerdictPlace, type VerdictSource } from './verdictKey.ts'
import { dependsOnTrace, packVerdict, unpackVerdict, type RememberedVerdict } from './verdictValue.ts'

/** How much is remembered, and how long. Milliseconds. */
export interface VerdictLimits extends MemoryLimits {
  readonly cleanTtlMs: number
  readonly infectedTtlMs: number
  readonly spamTtlMs: number
}

/** What a {@link VerdictCache} works with. */
export interface VerdictCacheOptions {
  readonly limits: VerdictLimits
  /** Absent: what this process remembers is all. */
  readonly shared?: SharedCache
  /** Unix milliseconds. */
  readonly now: () => number
}

/** What another place than memory gave: `odd`, something that is no verdict of ours. */
export type Fetched = Verdict | 'odd' | undefined

/**
 * What scanners found, by {@link VerdictPlace}: in the memory of this process, and behind it in one that instances share.
 * It knows neither scanners nor their versions: whoever asks has both in the place that he asks for.
 */
export class VerdictCache {
  #limits: VerdictLimits
  readonly #memory: MemoryVerdicts
  readonly #shared: SharedCache | undefined
  readonly #now: () => number

  constructor({ limits, shared, now }: VerdictCacheOptions) {
    this.#limits = limits
    this.#memory = new MemoryVerdicts(limits)
    this.#shared = shared
    this.#now = now
  }

  /** Whether anything is remembered. */
  get isOn(): boolean {
    return this.#limits.maxEntries > 0
  }

  /** Verdicts in memory. */
  get entries(): number {
    return this.#memory.size
  }

  /** The level that is shared, while it answers. */
  get shared(): SharedCache | undefined {
    return this.#shared?.available === true ? this.#shared : undefined
  }

  /** From here on. What is remembered keeps its time. */
  limit(limits: VerdictLimits): void {
    this.#limits = limits
    this.#memory.resize(limits)
  }

  /** @returns absent: the verdict on this message cannot be remembered */
  placeOf(source: VerdictSource, request: ScanRequest): VerdictPlace | undefined {
    return this.isOn ? verdictPlace(source, request) : undefined
  }

  /** What this process remembers. */
  recall(place: VerdictPlace): Verdict | undefined {
    const remembered = this.#memory.get(place.key, this.#now())
    return remembered && isFor(place, remembered) ? remembered.verdict : undefined
  }

  /** What other instances remember, asked for all places at once; this one remembers it too from here on. Never rejects. */
  async fetch(places: readonly VerdictPlace[]): Promise<readonly Fetched[]> {
    const { shared } = this
    if (!shared || places.length === 0) return places.map(() => undefined)
    const values = await shared.read(places.map(({ key }) => key))
    return places.map((place, index) => this.#take(place, values[index]))
  }

  /**
   * Remembers it, in both levels; an incomplete one not.
   *
   * @param ttl which of the configured times holds
   */
  remember(place: VerdictPlace, verdict: Verdict, ttl: 'virus' | 'spam'): void {
    if (!this.isOn || !isComplete(verdict)) return
    const ttlMs = this.#ttlFor(verdict, ttl)
    const remembered = {
      verdict,
      expiresAt: Math.floor(this.#now()) + ttlMs,
      ...(dependsOnTrace(verdict) && { trace: place.trace() }),
    }
    const value = packVerdict(remembered)
    if (!value) return
    this.#memory.set(place.key, remembered)
    this.shared?.write(place.key, value, ttlMs)
  }

  #take(place: VerdictPlace, value: SharedValue): Fetched {
    if (value === undefined || value === 'odd') return value
    const now = this.#now()
    const remembered = unpackVerdict(value, now)
    if (!remembered) return 'odd'
    if (remembered.expiresAt <= now || !isFor(place, remembered)) return undefined
    this.#memory.set(place.key, remembered)
    return remembered.verdict
  }

  #ttlFor(verdict: Verdict, ttl: 'virus' | 'spam'): number {
    const { cleanTtlMs, infectedTtlMs, spamTtlMs } = this.#limits
    if (ttl === 'spam') return spamTtlMs
    return verdict.findings.some(({ kind }) => kind === 'virus') ? infectedTtlMs : cleanTtlMs
  }
}

function isFor(place: VerdictPlace, { trace }: RememberedVerdict): boolean {
  return trace === undefined || trace === place.trace()
}
