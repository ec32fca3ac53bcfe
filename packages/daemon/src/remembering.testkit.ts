import { Readable } from 'node:stream'
import {
  FilterError,
  type ConfiguredScanner,
  type LoadedSignatures,
  type ScanRequest,
  type ScanResult,
  type Verdict,
} from '@ecluse/core'
import { Breakers, Suspects, guardedScan } from '@ecluse/scanners'
import { Flights, VerdictCache, type SharedCache } from '@ecluse/state'
import { until } from './daemon.testkit.ts'
import { EngineVersions } from './engineVersions.ts'
import { rememberedScans, type LookupResult, type ScanMemory } from './rememberedScans.ts'
import { ScanPace } from './scanPace.ts'

export const INFECTED: Verdict = { findings: [{ kind: 'virus', name: 'X' }] }
const LIMITS = {
  maxEntries: 100,
  maxBytes: 1_000_000,
  cleanTtlMs: 1000,
  infectedTtlMs: 1000,
  spamTtlMs: 1000,
}

export function mail(text: string, trace: readonly string[] = []): ScanRequest {
  return {
    hostname: 'filter.example.org',
    envelope: {
      protocol: 'lmtp',
      mailFrom: 'a@example.net',
      recipients: [{ address: 'b@example.org' }],
      smtpUtf8: false,
      client: {},
      peer: { helo: 'mx' },
      listener: 'l',
    },
    message: {
      id: 'id',
      sizeBytes: text.length,
      digest: text,
      header: Buffer.alloc(0),
      content: () => ({ digest: text, trace }),
      open: () => Readable.from([]),
    },
  }
}

/** An engine that does as it is told: each scan waits for its gate, each question what is loaded gets what is. */
export function engine(changes: Partial<ConfiguredScanner> = {}) {
  const scans: {
    readonly request: ScanRequest
    readonly signal: AbortSignal
    end(of: Verdict | Error): void
  }[] = []
  const state = {
    loaded: 'one' as string | undefined,
    isCertain: true,
    questions: 0,
    hold: undefined as Promise<void> | undefined,
  }
  const configured: ConfiguredScanner = {
    name: 'clamav',
    kind: 'fake',
    concerns: ['virus'],
    timeoutMs: 60_000,
    onError: 'tempfail',
    memory: { inputs: ['content'], settings: '{}' },
    scanner: {
      async scan(request, signal) {
        const end = await new Promise<Verdict | Error>((resolve) => {
          scans.push({ request, signal, end: resolve })
        })
        if ('findings' in end) return end
        throw end
      },
      version: async () => ({ engine: 'fake' }),
      async loaded(): Promise<LoadedSignatures> {
        state.questions++
        const { loaded, isCertain } = state
        await state.hold
        if (loaded === undefined) throw new FilterError('E_SCANNER_CONNECT', 'down')
        return { state: loaded, isCertain }
      },
    },
    ...changes,
  }
  return { configured, scans, state }
}

type Engine = ReturnType<typeof engine>

/** An instance of the filter, as far as it remembers. */
export async function instance(engines: readonly Engine[], shared?: SharedCache) {
  const counts: string[] = []
  const versions = new EngineVersions(60_000)
  const memory: ScanMemory = {
    cache: new VerdictCache({ limits: LIMITS, now: () => 0, ...(shared && { shared }) }),
    versions,
    flights: new Flights(),
    pace: new ScanPace(),
    count: (scanner: string, result: LookupResult) => void counts.push(`${scanner} ${result}`),
  }
  const guards = {
    breakers: new Breakers({ now: () => 0, onChange: () => undefined }),
    suspects: new Suspects({ now: () => 0, maxEntries: 100, ttlMs: 1 }),
    maxFailures: 0,
    retryPauseMs: 1,
  }
  const scanAll = rememberedScans(memory, guardedScan(guards))
  for (const { configured } of engines) await versions.answered(configured, { engine: 'fake' })
  const scanners = engines.map(({ configured }) => configured)
  return {
    memory,
    counts,
    scan: async (request: ScanRequest, signal = new AbortController().signal): Promise<ScanResult[]> =>
      await scanAll(scanners, request, signal),
  }
}

export const said = (results: readonly ScanResult[]): string[] =>
  results.map((result) => {
    if (result.outcome !== 'done') return result.outcome === 'failed' ? result.error.code : result.outcome
    const verdict = result.verdict.findings.map(({ kind }) => kind).join() || 'clean'
    return result.cached ? `${verdict} again` : verdict
  })

/** Scans once, to the end, also of what is done behind it. */
export async function scanned(
  filter: Awaited<ReturnType<typeof instance>>,
  of: Engine,
  verdict: Verdict | Error,
  request = mail('m'),
) {
  const count = of.scans.length
  const result = filter.scan(request)
  await until(() => of.scans.length > count)
  of.scans[count]?.end(verdict)
  return said(await result)
}

/** A level that two instances share, and that can be made to answer oddly. */
export function sharedLevel() {
  const values = new Map<string, Buffer>()
  const claims = new Set<string>()
  const level = { reads: 0, claims, values }
  const cache: SharedCache = {
    available: true,
    async read(keys) {
      level.reads++
      return keys.map((key) => values.get(key))
    },
    write: (key, value) => void values.set(key, value),
    async claim(key) {
      if (claims.has(key)) return 'held'
      claims.add(key)
      return 'taken'
    },
    unclaim: (key) => void claims.delete(key),
  }
  return { ...level, cache, level }
}
