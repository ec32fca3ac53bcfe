import {
  FilterError,
  type ConfiguredScanner,
  type ScanRequest,
  type ScanResult,
  type Verdict,
} from '@ecluse/core'
import { protocolError } from './failure.ts'

/**
 * Runs all scanners at once, each within its own deadline. Never rejects: a scanner that fails is a result that
 * says so.
 *
 * @param signal ends every scan that still runs, with E_ABORTED
 * @returns in the order of the scanners
 */
export function scanAll(
  scanners: readonly ConfiguredScanner[],
  request: ScanRequest,
  signal: AbortSignal,
): Promise<ScanResult[]> {
  return Promise.all(scanners.map((scanner) => scanOne(scanner, request, signal)))
}

async function scanOne(
  configured: ConfiguredScanner,
  request: ScanRequest,
  signal: AbortSignal,
): Promise<ScanResult> {
  const { name, concerns, maxSizeBytes = Infinity, onError } = configured
  if (request.message.sizeBytes > maxSizeBytes) {
    return { scanner: name, concerns, elapsedMs: 0, outcome: 'skipped', reason: 'too large' }
  }
  const started = performance.now()
  try {
    const verdict = await withinDeadline(configured, request, signal)
    const elapsedMs = performance.now() - started
    return { scanner: name, concerns, elapsedMs, outcome: 'done', verdict, cached: false }
  } catch (cause) {
    const error = cause instanceof FilterError ? cause : protocolError(`${name}: failed`, cause)
    const elapsedMs = performance.now() - started
    return { scanner: name, concerns, elapsedMs, outcome: 'failed', error, onError }
  }
}

/**
 * Free for further scans, since they never aborted. Each new signal has a shape of its own, and slows down all code that
 * asks it.
 */
const spare: AbortController[] = []

/** Settles at the deadline or on abort, also when the scanner does not heed its signal. */
function withinDeadline(
  { name, timeoutMs, scanner }: ConfiguredScanner,
  request: ScanRequest,
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
    const expire = (): void =>
      give(new FilterError('E_SCANNER_TIMEOUT', `${name}: no answer within ${timeoutMs} ms`))
    const timer = setTimeout(expire, timeoutMs)
    const release = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', stop)
    }
    const settle = (): void => {
      release()
      if (!controller.signal.aborted) spare.push(controller)
    }
    if (signal.aborted) return stop()
    signal.addEventListener('abort', stop, { once: true })
    const run = async (): Promise<Verdict> => await scanner.scan(request, controller.signal)
    run().then(resolve, reject).finally(settle)
  })
}
