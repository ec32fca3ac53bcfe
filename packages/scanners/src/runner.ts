import {
  FilterError,
  type ConfiguredScanner,
  type ScanRequest,
  type ScanResult,
  type Verdict,
} from '@ecluse/core'
import { protocolError } from './failure.ts'

/**
 * Runs all scanners at once, each within its own deadline; then, also at once, the backups for which every scanner that
 * they stand in for has failed. Never rejects: a scanner that fails is a result that says so.
 *
 * @param signal ends every scan that still runs, with E_ABORTED
 * @returns in the order of the scanners, without the backups that were not asked
 */
export type ScanAll = (
  scanners: readonly ConfiguredScanner[],
  request: ScanRequest,
  signal: AbortSignal,
) => Promise<ScanResult[]>

/** Asks one scanner. Never rejects. */
export type ScanOne = (
  configured: ConfiguredScanner,
  request: ScanRequest,
  signal: AbortSignal,
) => Promise<ScanResult>

/** Asks every scanner each time, whatever happened before. */
export const scanAll: ScanAll = scanningWith(async (configured, request, signal) => {
  const { scanner } = configured
  return (
    skipped(configured, request) ??
    (await timed(configured, (within) => scanner.scan(request, within), signal))
  )
})

/** Runs scanners in the order of {@link ScanAll}, each asked by `scanOne`. */
export function scanningWith(scanOne: ScanOne): ScanAll {
  return async (scanners, request, signal) => {
    if (!scanners.some(({ backupFor }) => backupFor)) {
      return await Promise.all(scanners.map((scanner) => scanOne(scanner, request, signal)))
    }
    const primaries = scanners.filter(({ backupFor }) => !backupFor)
    const first = new Map(primaries.map((scanner) => [scanner.name, scanOne(scanner, request, signal)]))
    const results = await Promise.all(
      scanners.map(async (scanner): Promise<ScanResult | undefined> => {
        const { name, backupFor } = scanner
        if (!backupFor) return await first.get(name)
        const before = await Promise.all(backupFor.flatMap((of) => first.get(of) ?? []))
        if (signal.aborted || !isNeeded(before)) return undefined
        return { ...(await scanOne(scanner, request, signal)), backupFor }
      }),
    )
    return markCovered(results.filter((result) => result !== undefined))
  }
}

/** @param before of those that the backup stands in for, as far as somebody wanted them */
function isNeeded(before: readonly ScanResult[]): boolean {
  return before.length > 0 && before.every(({ outcome }) => outcome === 'failed')
}

function markCovered(results: readonly ScanResult[]): ScanResult[] {
  return results.map((result) => {
    if (result.outcome !== 'failed' || result.backupFor) return result
    const backup = results.find((of) => of.outcome === 'done' && of.backupFor?.includes(result.scanner))
    return backup ? { ...result, coveredBy: backup.scanner } : result
  })
}

/** The result for a message that the scanner is not shown; absent: it is shown. */
export function skipped(
  { name, concerns, maxSizeBytes = Infinity }: ConfiguredScanner,
  { message }: ScanRequest,
): ScanResult | undefined {
  if (message.sizeBytes <= maxSizeBytes) return undefined
  return { scanner: name, concerns, elapsedMs: 0, outcome: 'skipped', reason: 'too large' }
}

/** Makes a result of what `scan` gives or throws, within the scanner's deadline. */
export async function timed(
  configured: ConfiguredScanner,
  scan: (signal: AbortSignal) => Promise<Verdict>,
  signal: AbortSignal,
): Promise<ScanResult> {
  const { name, concerns } = configured
  const started = performance.now()
  try {
    const verdict = await withinDeadline(configured, scan, signal)
    const elapsedMs = performance.now() - started
    return { scanner: name, concerns, elapsedMs, outcome: 'done', verdict, cached: false }
  } catch (cause) {
    const error = cause instanceof FilterError ? cause : protocolError(`${name}: failed`, cause)
    return failed(configured, error, performance.now() - started)
  }
}

/** The result of a scan that failed. */
export function failed(
  { name, concerns, onError }: ConfiguredScanner,
  error: FilterError,
  elapsedMs = 0,
): ScanResult {
  return { scanner: name, concerns, elapsedMs, outcome: 'failed', error, onError }
}

/**
 * Free for further scans, since they never aborted. Each new signal has a shape of its own, and slows down all code that
 * asks it.
 */
const spare: AbortController[] = []

/** Settles at the deadline or on abort, also when the scanner does not heed its signal. */
function withinDeadline(
  { name, timeoutMs, scanner }: ConfiguredScanner,
  scan: (signal: AbortSignal) => Promise<Verdict>,
  signal: AbortSignal,
): Promise<Verdict> {
  const controller = spare.pop() ?? new AbortController()
  return new Promise((resolve, reject) => {
    const give = (error: FilterError): void => {
      release()
      // First, for the scanner fails in its own words when its signal aborts.
      reject(error)
      controller.abort(error)
    }
    const stop = (): void => give(new FilterError('E_ABORTED', `${name}: aborted`, { cause: signal.reason }))
    const isWaiting = (): boolean => scanner.isWaiting?.(controller.signal) === true
    const busy = (): void => give(new FilterError('E_SCANNER_BUSY', `${name}: not yet asked, others are`))
    const expire = (): void => {
      if (isWaiting()) return busy()
      give(new FilterError('E_SCANNER_TIMEOUT', `${name}: no answer within ${timeoutMs} ms`))
    }
    const timer = setTimeout(expire, timeoutMs)
    // The engine has the other half: else it would be blamed for the little time that its queue has left.
    const turnTimer = scanner.isWaiting && setTimeout(() => isWaiting() && busy(), timeoutMs / 2)
    const release = (): void => {
      clearTimeout(timer)
      clearTimeout(turnTimer)
      signal.removeEventListener('abort', stop)
    }
    const settle = (): void => {
      release()
      if (!controller.signal.aborted) spare.push(controller)
    }
    if (signal.aborted) return stop()
    signal.addEventListener('abort', stop, { once: true })
    const run = async (): Promise<Verdict> => await scan(controller.signal)
    run().then(resolve, reject).finally(settle)
  })
}
