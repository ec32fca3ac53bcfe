import {
  failpoint,
  isComplete,
  type ConfiguredScanner,
  type LoadedSignatures,
  type ScanRequest,
  type ScanResult,
  type Verdict,
} from '@ecluse/core'
import { scanningWith, skipped, type ScanAll, type ScanOne } from '@ecluse/scanners'
import {
  dependsOnTrace,
  type Fetched,
  type Flight,
  type FlightEnd,
  type Flights,
  type VerdictCache,
  type VerdictPlace,
} from '@ecluse/state'
import type { EngineVersions } from './engineVersions.ts'
import type { ScanPace } from './scanPace.ts'
import { pause, within } from './waiting.ts'

/** How looking for a verdict ended; a metric label. */
export const LOOKUP_RESULTS = ['hit', 'miss', 'joined', 'error'] as const
export type LookupResult = (typeof LOOKUP_RESULTS)[number]

/** What one scan found, for those who wait for it. */
interface Shown {
  readonly verdict: Verdict
  readonly trace: string | undefined
}

/** What is remembered from one message to the next. */
export interface ScanMemory {
  readonly cache: VerdictCache
  readonly versions: EngineVersions
  readonly flights: Flights<Shown>
  readonly pace: ScanPace
  /** Told once for each verdict that was looked for. */
  readonly count: (scanner: string, result: LookupResult) => void
}

/** How often other instances are asked whether they have it. */
const POLL_MS = 10
/** Whoever scans for all for longer than this has ended without a word, or is slower than scanning twice. */
const MAX_CLAIM_MS = 30_000
/** So often one message may begin anew, since what it waited for came to nothing. */
const MAX_ROUNDS = 5

/**
 * Asks scanners as `scanOne` does, but not about a message of which a complete verdict is remembered, or is being made:
 *
 * - nothing is looked for, or remembered, while it is not known what the engine has loaded;
 * - a remembered verdict holds only when the engine says, asked after the message came, that it still has loaded the same;
 * - a verdict is remembered only when the engine says so after the scan as before it;
 * - who waits for the scan of another copy waits no longer than {@link ScanPace.patienceMs}, and then asks for itself,
 *   within what is left of its timeout.
 *
 * A scanner that is skipped, has failed, or answered in part is asked about the next copy again.
 */
export function rememberedScans(memory: ScanMemory, scanOne: ScanOne): ScanAll {
  const plain = scanningWith(scanOne)
  return async (scanners, request, signal) => {
    if (!memory.cache.isOn || !scanners.some((of) => of.memory)) return await plain(scanners, request, signal)
    const prefetched = prefetch(memory, scanners, request)
    const remembering: ScanOne = (configured, of, within) =>
      new Search({ memory, scanOne, prefetched }, { configured, request: of, signal: within }).run()
    return await scanningWith(remembering)(scanners, request, signal)
  }
}

/** By key, what other instances remember. */
type Prefetched = ReadonlyMap<string, Promise<Fetched>>

/** Asks for all that is not in memory in one go. Backups are not asked for: nobody knows whether they are needed. */
function prefetch(
  { cache, versions, flights }: ScanMemory,
  scanners: readonly ConfiguredScanner[],
  request: ScanRequest,
): Prefetched {
  if (!cache.shared) return new Map()
  const places = scanners.flatMap((configured) => {
    if (configured.backupFor || skipped(configured, request)) return []
    const place = placeOf(cache, { configured, request, loaded: versions.known(configured) })
    return place && !cache.recall(place) && !flights.get(place.key) ? [place] : []
  })
  if (places.length === 0) return new Map()
  const all = cache.fetch(places)
  const one = async (index: number): Promise<Fetched> => (await all)[index]
  return new Map(places.map(({ key }, index) => [key, one(index)]))
}

function placeOf(
  cache: VerdictCache,
  of: {
    readonly configured: ConfiguredScanner
    readonly request: ScanRequest
    readonly loaded: LoadedSignatures | undefined
  },
): VerdictPlace | undefined {
  const { configured, request, loaded } = of
  const { name: scanner, memory } = configured
  return memory && loaded ? cache.placeOf({ scanner, version: loaded.state, memory }, request) : undefined
}

interface SearchParts {
  readonly memory: ScanMemory
  readonly scanOne: ScanOne
  readonly prefetched: Prefetched
}

interface Question {
  readonly configured: ConfiguredScanner
  readonly request: ScanRequest
  readonly signal: AbortSignal
}

/** A place, and what the engine had loaded when it was looked at. */
interface Look {
  readonly place: VerdictPlace
  readonly loaded: LoadedSignatures
}

/** The right to scan, among instances; `elsewhere`: another one had it, and its verdict is there. */
type Claim = 'taken' | 'none' | 'elsewhere'

/** One message, one scanner. */
class Search {
  readonly #memory: ScanMemory
  readonly #scanOne: ScanOne
  readonly #prefetched: Prefetched
  readonly #question: Question
  readonly #startedAt = performance.now()
  /** How it will be counted if it ends with a verdict, and without. */
  #found: LookupResult = 'hit'
  #missed: LookupResult = 'miss'
  /** Whether it has waited for somebody else's scan. */
  #joined = false
  /** Where its place is known: what that has of the message. */
  #content: { readonly contentDigest?: string } = {}

  constructor({ memory, scanOne, prefetched }: SearchParts, question: Question) {
    this.#memory = memory
    this.#scanOne = scanOne
    this.#prefetched = prefetched
    this.#question = question
  }

  async run(): Promise<ScanResult> {
    const { configured, request, signal } = this.#question
    const { cache, versions } = this.#memory
    let looked = false
    if (!skipped(configured, request)) {
      for (let round = 0; round < MAX_ROUNDS && !signal.aborted; round++) {
        const loaded = versions.known(configured)
        const place = placeOf(cache, { configured, request, loaded })
        if (!place || !loaded) break
        looked = true
        this.#content = contentOf(request)
        const result = await this.#look({ place, loaded })
        if (result !== 'again') return result
      }
    }
    return looked ? await this.#miss() : await this.#scan()
  }

  async #look(look: Look): Promise<ScanResult | 'again'> {
    const { cache, flights } = this.#memory
    const { place } = look
    const known = cache.recall(place)
    if (known) return await this.#use(known, look)
    const running = flights.get(place.key)
    if (running) return await this.#join(running, place)
    if (cache.shared) {
      const fetched = await this.#fetch(place)
      if (fetched === 'odd') this.#missed = 'error'
      else if (fetched) return await this.#use(fetched, look)
      // Somebody may have begun meanwhile.
      const begun = flights.get(place.key)
      if (begun) return await this.#join(begun, place)
    }
    return await this.#lead(look)
  }

  async #fetch(place: VerdictPlace): Promise<Fetched> {
    const first = this.#prefetched.get(place.key)
    if (first) return await first
    const [fetched] = await this.#memory.cache.fetch([place])
    return fetched
  }

  /** Only if the engine still has loaded the same. */
  async #use(verdict: Verdict, { loaded }: Look): Promise<ScanResult | 'again'> {
    const { configured } = this.#question
    const limit = { ms: configured.timeoutMs / 2, signal: this.#question.signal }
    const now = await within(this.#memory.versions.confirm(configured), limit)
    // Asked once more, it would take the time that is left for a scan.
    if (!now) return await this.#miss()
    return now.state === loaded.state ? this.#done(verdict) : 'again'
  }

  async #join(flight: Flight<Shown>, place: VerdictPlace): Promise<ScanResult | 'again'> {
    this.#joined = true
    const end = await flight.wait(this.#patienceMs(), this.#question.signal)
    if (end === 'again') return 'again'
    if (typeof end === 'string') return await this.#miss()
    const { verdict, trace } = end.value
    if (trace !== undefined && trace !== place.trace()) return 'again'
    this.#found = 'joined'
    return this.#done(verdict)
  }

  /** Scans, for all who come meanwhile. */
  async #lead(look: Look): Promise<ScanResult | 'again'> {
    const { key } = look.place
    const flight = this.#memory.flights.begin(key)
    let claim: Claim = 'none'
    const land = (end: FlightEnd<Shown>): void => {
      flight.end(end)
      if (claim === 'taken') this.#memory.cache.shared?.unclaim(key)
    }
    try {
      claim = await this.#claim(look.place)
      if (claim === 'elsewhere') {
        this.#found = 'joined'
        land('again')
        return 'again'
      }
      const result = await this.#miss()
      if (result.outcome === 'done' && isComplete(result.verdict)) {
        flight.settle()
        void this.#keep(look, result.verdict, land)
      } else {
        // What became of one message says nothing about the others.
        land(result.outcome === 'failed' && result.error.code === 'E_ABORTED' ? 'again' : 'failed')
      }
      return result
    } catch (error) {
      land('failed')
      throw error
    }
  }

  /** Not waited for by who scanned: its answer is as good as without a memory. Never rejects. */
  async #keep(
    { place, loaded }: Look,
    verdict: Verdict,
    land: (end: FlightEnd<Shown>) => void,
  ): Promise<void> {
    const { cache, versions } = this.#memory
    const { configured } = this.#question
    const now = await versions.confirm(configured)
    if (now?.state !== loaded.state) return land('again')
    // Before it has loaded what is there, clean is what the old signatures say; a find is one.
    if (!loaded.isCertain && !isInfected(verdict)) return land('failed')
    failpoint('K10-verdict-remembered')
    cache.remember(place, verdict, configured.concerns.includes('spam') ? 'spam' : 'virus')
    land({ value: { verdict, trace: dependsOnTrace(verdict) ? place.trace() : undefined } })
  }

  /** Asks for the right to scan. */
  async #claim(place: VerdictPlace): Promise<Claim> {
    const { shared } = this.#memory.cache
    if (!shared) return 'none'
    const ttlMs = Math.min(this.#question.configured.timeoutMs, MAX_CLAIM_MS)
    const claim = await shared.claim(place.key, ttlMs)
    this.#joined ||= claim === 'held'
    if (claim === 'held') return (await this.#appears(place)) ? 'elsewhere' : 'none'
    return claim === 'taken' ? 'taken' : 'none'
  }

  /** Waits until another instance has it. */
  async #appears(place: VerdictPlace): Promise<boolean> {
    const { cache } = this.#memory
    const { signal } = this.#question
    while (!signal.aborted && this.#patienceMs() > POLL_MS) {
      await pause(POLL_MS, signal)
      const [fetched] = await cache.fetch([place])
      if (fetched !== undefined && fetched !== 'odd') return true
      if (!cache.shared) return false
    }
    return false
  }

  #patienceMs(): number {
    const { configured, request } = this.#question
    const patience = this.#memory.pace.patienceMs(configured, request.message.sizeBytes)
    return Math.max(0, patience - this.#spentMs())
  }

  #spentMs(): number {
    return performance.now() - this.#startedAt
  }

  #done(verdict: Verdict): ScanResult {
    const { name: scanner, concerns } = this.#question.configured
    this.#memory.count(scanner, this.#found)
    return {
      scanner,
      concerns,
      elapsedMs: this.#spentMs(),
      outcome: 'done',
      verdict,
      cached: true,
      ...this.#content,
    }
  }

  async #miss(): Promise<ScanResult> {
    this.#memory.count(this.#question.configured.name, this.#missed)
    return await this.#scan()
  }

  /** Within what is left of its time. */
  async #scan(): Promise<ScanResult> {
    const { configured, request, signal } = this.#question
    const waitedMs = this.#spentMs()
    const timeoutMs = Math.max(1, Math.ceil(configured.timeoutMs - waitedMs))
    const result = await this.#scanOne({ ...configured, timeoutMs }, request, signal)
    if (result.outcome === 'done') {
      this.#memory.pace.note(configured, { sizeBytes: request.message.sizeBytes, ms: result.elapsedMs })
    }
    return { ...result, ...(this.#joined && { waitedMs }), ...this.#content }
  }
}

/** Asked for the place before, and so known. */
function contentOf({ message }: ScanRequest): { readonly contentDigest?: string } {
  const digest = message.content?.().digest
  return digest === undefined ? {} : { contentDigest: digest }
}

function isInfected({ findings }: Verdict): boolean {
  return findings.some(({ kind }) => kind === 'virus')
}
