import type { ConfiguredScanner, LoadedSignatures, ScannerVersion } from '@ecluse/core'
import type { ScanAll, ScanOne } from '@ecluse/scanners'
import { Flights, VerdictCache, type SharedCache, type VerdictLimits } from '@ecluse/state'
import { EngineVersions } from './engineVersions.ts'
import { rememberedScans, type LookupResult, type ScanMemory } from './rememberedScans.ts'
import { ScanPace } from './scanPace.ts'

/** What a daemon remembers of what scanners found. */
export interface DaemonMemory {
  /** Verdicts in the memory of this process. */
  readonly entries: number
  /** Whether anything of the mail that these scanners see is remembered. */
  remembers(scanners: readonly ConfiguredScanner[]): boolean
  scanAllWith(scanOne: ScanOne): ScanAll
  /** From here on. */
  limit(limits: VerdictLimits | undefined): void
  /** A scanner said who it is, or did not answer. Never rejects. */
  answered(configured: ConfiguredScanner, version: ScannerVersion | undefined): Promise<void>
  /** What it said last that it has loaded; absent: unknown. */
  loaded(configured: ConfiguredScanner): LoadedSignatures | undefined
  close(): void
}

/** What it works with. */
export interface DaemonMemoryOptions {
  /** Absent: nothing is remembered. */
  readonly limits: VerdictLimits | undefined
  /** What instances share; absent: each remembers for itself. */
  readonly shared?: SharedVerdicts
  /** For each question what an engine has loaded. */
  readonly timeoutMs: number
  readonly count: (scanner: string, result: LookupResult) => void
}

/** A memory that instances share. */
interface SharedVerdicts {
  readonly cache: SharedCache
}

const NOTHING: VerdictLimits = { maxEntries: 0, maxBytes: 0, cleanTtlMs: 0, infectedTtlMs: 0, spamTtlMs: 0 }

/** Opens nothing: what instances share has been opened by whoever gives it. */
export function openScanMemory({ limits, shared, timeoutMs, count }: DaemonMemoryOptions): DaemonMemory {
  const cache = new VerdictCache({
    limits: limits ?? NOTHING,
    now: Date.now,
    ...(shared && { shared: shared.cache }),
  })
  const versions = new EngineVersions(timeoutMs)
  const memory: ScanMemory = { cache, versions, flights: new Flights(), pace: new ScanPace(), count }
  return {
    get entries() {
      return cache.entries
    },
    remembers: (scanners) => cache.isOn && scanners.some((scanner) => scanner.memory !== undefined),
    scanAllWith: (scanOne) => rememberedScans(memory, scanOne),
    limit: (next) => cache.limit(next ?? NOTHING),
    answered: (configured, version) => versions.answered(configured, version),
    loaded: (configured) => versions.known(configured),
    close: () => versions.close(),
  }
}
