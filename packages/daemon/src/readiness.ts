import { FilterError, type ConfiguredScanner, type ScannerVersion } from '@ecluse/core'
import type { Reinjector } from '@ecluse/mail'
import type { Breakers } from '@ecluse/scanners'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

/** What is asked, how often, and whom to tell. */
export interface ReadinessOptions {
  readonly scanners: readonly ConfiguredScanner[]
  readonly breakers: Breakers
  readonly reinjector: Reinjector
  /** Told what each scanner said of itself; absent: it did not answer. Waited for; does not reject. */
  readonly onVersion?: (scanner: ConfiguredScanner, version: ScannerVersion | undefined) => Promise<void>
  /** Tries the folders that a message may need. @throws FilterError */
  readonly folders: () => Promise<void>
  readonly intervalMs: number
  /** For each question. */
  readonly timeoutMs: number
  readonly log: Log
  readonly metrics: Metrics
}

/** Asks in the background whether everything that mail needs is there. */
export interface Readiness {
  /** Why no mail can be taken; empty: it can. */
  notReady(): readonly string[]
  /** What each scanner said last; absent: it did not answer. */
  versions(): ReadonlyMap<string, ScannerVersion>
  /** Asks everything now. Never rejects. */
  ask(): Promise<void>
  /** Asks these scanners from here on, new ones at once, and forgets the others. Never rejects. */
  watch(scanners: readonly ConfiguredScanner[]): Promise<void>
  /** Resolves when no folder is being tried any more: whoever unmounts one then can. Waits for nobody else. */
  close(): Promise<void>
}

/** Once the next hop answered, it is not asked again so soon: each question is two lines in Postfix's log. */
const NEXT_HOP_INTERVAL_MS = 60_000

/** Begins to ask every `intervalMs`; the first time only when `ask` is called. Goes on until it is closed. */
export function watchReadiness(options: ReadinessOptions): Readiness {
  const { reinjector, folders } = options
  const reasons = new Map<string, string>()
  const question = questioner(options, reasons)
  const scanners = watchScanners(options)
  let nextHopAskedAt = -Infinity

  const askNextHop = async (): Promise<void> => {
    const now = performance.now()
    if (!reasons.has('reinject') && now - nextHopAskedAt < NEXT_HOP_INTERVAL_MS) return
    nextHopAskedAt = now
    await question('reinject', (signal) => reinjector.probe(signal))
  }
  let trying: Promise<void> | undefined
  const ask = async (): Promise<void> => {
    trying = question('folders', folders)
    await Promise.all([scanners.ask(), askNextHop(), trying])
  }

  let asking = false
  const timer = setInterval(() => {
    if (asking) return
    asking = true
    void ask().finally(() => {
      asking = false
    })
  }, options.intervalMs)
  return {
    notReady: () => [...reasons, ...scanners.notReady()].map(([name, why]) => `${name}: ${why}`),
    versions: scanners.versions,
    ask,
    watch: scanners.watch,
    async close() {
      clearInterval(timer)
      await trying
    },
  }
}

/**
 * Asks and keeps the reason where there is no answer. Never rejects.
 *
 * @param counts whether the answer is still of use when it is here
 * @returns absent: no answer
 */
type Question = <T>(
  name: string,
  ask: (signal: AbortSignal) => Promise<T>,
  counts?: () => boolean,
) => Promise<T | undefined>

function questioner({ timeoutMs, log }: ReadinessOptions, reasons: Map<string, string>): Question {
  return async (name, ask, counts = () => true) => {
    try {
      const answer = await ask(AbortSignal.timeout(timeoutMs))
      if (counts() && reasons.delete(name)) log.info({ name }, 'answers again')
      return answer
    } catch (error) {
      if (!counts()) return undefined
      const why = error instanceof FilterError ? `${error.code}: ${error.message}` : String(error)
      if (reasons.get(name) !== why) log.warn({ name, err: error }, 'does not answer')
      reasons.set(name, why)
      return undefined
    }
  }
}

/** Names of what is wanted and missing, each with the reason. */
type Missing = [name: string, why: string]

function watchScanners(
  options: ReadinessOptions,
): Pick<Readiness, 'ask' | 'watch' | 'versions'> & { notReady(): Missing[] } {
  const { scanners: first, metrics, breakers, onVersion } = options
  const reasons = new Map<string, string>()
  const question = questioner(options, reasons)
  const versions = new Map<string, ScannerVersion>()
  let watched = first

  const askScanner = async (configured: ConfiguredScanner): Promise<void> => {
    const { name, scanner } = configured
    const isWatched = (): boolean => has(watched, configured)
    const version = await question(labelOf(configured), (signal) => scanner.version(signal), isWatched)
    // Exchanged while it was asked: its name may be another one's by now.
    if (!isWatched()) return
    if (version) {
      versions.set(name, version)
      breakers.answered(configured)
    } else {
      versions.delete(name)
    }
    const signatureTimestamp = version?.signatureTimestamp
    metrics.scanner(name, {
      up: version !== undefined,
      ...(signatureTimestamp !== undefined && { signatureTimestamp }),
    })
    await onVersion?.(configured, version)
  }
  return {
    versions: () => versions,
    notReady: () => missingScanners(watched, (configured) => whyNot(configured, { reasons, breakers })),
    ask: async () => void (await Promise.all(watched.map(askScanner))),
    async watch(scanners) {
      const gone = watched.filter((scanner) => !has(scanners, scanner))
      const added = scanners.filter((scanner) => !has(watched, scanner))
      watched = scanners
      for (const scanner of gone) {
        reasons.delete(labelOf(scanner))
        versions.delete(scanner.name)
        metrics.forgetScanner(scanner.name)
      }
      await Promise.all(added.map(askScanner))
    },
  }
}

const labelOf = ({ name }: ConfiguredScanner): string => `scanner ${name}`

/** Why messages would not get its answer now; absent: they would, or that it fails is no reason to defer them. */
function whyNot(
  configured: ConfiguredScanner,
  { reasons, breakers }: { readonly reasons: ReadonlyMap<string, string>; readonly breakers: Breakers },
): string | undefined {
  const why = reasons.get(labelOf(configured))
  if (why !== undefined || configured.onError !== 'tempfail' || !breakers.refuses(configured)) return why
  return 'E_SCANNER_CIRCUIT_OPEN: failed too often, left alone for a while'
}

/** Backups are missed by nobody, and who has one that answers is not missed either. */
function missingScanners(
  scanners: readonly ConfiguredScanner[],
  why: (configured: ConfiguredScanner) => string | undefined,
): Missing[] {
  const isCovered = ({ name }: ConfiguredScanner): boolean =>
    scanners.some((of) => of.backupFor?.includes(name) && why(of) === undefined)
  return scanners.flatMap((configured): Missing[] => {
    const reason = configured.backupFor ? undefined : why(configured)
    return reason === undefined || isCovered(configured) ? [] : [[labelOf(configured), reason]]
  })
}

function has(scanners: readonly ConfiguredScanner[], { name, scanner }: ConfiguredScanner): boolean {
  return scanners.some((of) => of.name === name && of.scanner === scanner)
}
