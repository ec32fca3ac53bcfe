import { FilterError, type ConfiguredScanner, type ScannerVersion } from '@ecluse/core'
import type { Reinjector } from '@ecluse/mail'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'

export interface ReadinessOptions {
  readonly scanners: readonly ConfiguredScanner[]
  readonly reinjector: Reinjector
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
  close(): void
}

/** Once the next hop answered, it is not asked again so soon: each question is two lines in Postfix's log. */
const NEXT_HOP_INTERVAL_MS = 60_000

export function watchReadiness(options: ReadinessOptions): Readiness {
  const { scanners, reinjector, folders, log, metrics } = options
  const reasons = new Map<string, string>()
  const versions = new Map<string, ScannerVersion>()
  let nextHopAskedAt = -Infinity

  const question = async (name: string, ask: (signal: AbortSignal) => Promise<void>): Promise<boolean> => {
    try {
      await ask(AbortSignal.timeout(options.timeoutMs))
      if (reasons.delete(name)) log.info({ name }, 'answers again')
      return true
    } catch (error) {
      const why = error instanceof FilterError ? `${error.code}: ${error.message}` : String(error)
      if (reasons.get(name) !== why) log.warn({ name, err: error }, 'does not answer')
      reasons.set(name, why)
      return false
    }
  }
  const askScanner = async ({ name, scanner }: ConfiguredScanner): Promise<void> => {
    const up = await question(`scanner ${name}`, async (signal) => {
      versions.set(name, await scanner.version(signal))
    })
    if (!up) versions.delete(name)
    const signatureTimestamp = versions.get(name)?.signatureTimestamp
    metrics.scanner(name, { up, ...(signatureTimestamp !== undefined && { signatureTimestamp }) })
  }
  const askNextHop = async (): Promise<void> => {
    const now = performance.now()
    if (!reasons.has('reinject') && now - nextHopAskedAt < NEXT_HOP_INTERVAL_MS) return
    nextHopAskedAt = now
    await question('reinject', async (signal) => void (await reinjector.probe(signal)))
  }
  const ask = async (): Promise<void> => {
    await Promise.all([...scanners.map(askScanner), askNextHop(), question('folders', folders)])
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
    notReady: () => [...reasons].map(([name, why]) => `${name}: ${why}`),
    versions: () => versions,
    ask,
    close: () => clearInterval(timer),
  }
}
