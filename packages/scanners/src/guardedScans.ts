import { setTimeout as delay } from 'node:timers/promises'
import {
  FilterError,
  type ConfiguredScanner,
  type ErrorCode,
  type ScanRequest,
  type ScanResult,
  type Verdict,
} from '@ecluse/core'
import type { Breakers } from './breaker.ts'
import { failed, scanningWith, skipped, timed, type ScanAll, type ScanOne } from './runner.ts'
import type { Suspects } from './suspects.ts'

/** What is remembered from one message to the next. */
export interface ScanGuards {
  readonly breakers: Breakers
  readonly suspects: Suspects
  /** So often one message may make an engine fail whose failure defers it; 0: without end. */
  readonly maxFailures: number
  /** Before a connection that was refused is tried once more; at most a quarter of the scanner's timeout. */
  readonly retryPauseMs: number
}

/**
 * Asks scanners as `scanAll` does, but not while their circuit is open (E_SCANNER_CIRCUIT_OPEN), and not for a message
 * that made them fail too often: that is E_SCANNER_GIVEN_UP with the rule `unchecked`, in place of `tempfail`.
 *
 * A connection that was refused, or lost before any answer, is tried once more within the same deadline: looking at a
 * message has no effect that could happen twice. One that was waited for in vain is not.
 */
export function guardedScans(guards: ScanGuards): ScanAll {
  return scanningWith(guardedScan(guards))
}

/** One scanner, in the way of {@link guardedScans}. */
export function guardedScan(guards: ScanGuards): ScanOne {
  return async (configured, request, signal) => {
    const { scanner, onError } = configured
    const { suspects, maxFailures } = guards
    const withoutAsking = skipped(configured, request)
    if (withoutAsking) return withoutAsking
    // Only what is deferred comes again.
    if (onError !== 'tempfail' || maxFailures === 0)
      return await askGuarded(guards, { configured, request }, signal)
    const failures = suspects.failures(scanner, identityOf(request))
    if (failures >= maxFailures) return givenUp(configured, failures)
    if (failures === 0) return await askGuarded(guards, { configured, request }, signal)
    let leave: () => void
    try {
      leave = await suspects.turn(scanner, signal)
    } catch (cause) {
      return failed(configured, new FilterError('E_ABORTED', `${configured.name}: aborted`, { cause }))
    }
    try {
      return await askGuarded(guards, { configured, request }, signal)
    } finally {
      leave()
    }
  }
}

interface Question {
  readonly configured: ConfiguredScanner
  readonly request: ScanRequest
}

async function askGuarded(
  { breakers, suspects, retryPauseMs }: ScanGuards,
  { configured, request }: Question,
  signal: AbortSignal,
): Promise<ScanResult> {
  const { name, scanner } = configured
  const admission = breakers.admit(configured)
  if (!admission) {
    return failed(
      configured,
      new FilterError('E_SCANNER_CIRCUIT_OPEN', `${name}: not asked, it failed too often`),
    )
  }
  const tries: Tries = { refused: false }
  const asked = await timed(
    configured,
    (within) => scanTwice({ configured, request, tries }, retryPauseMs, within),
    signal,
  )
  const result = withFirstFailure(asked, tries)
  const error = result.outcome === 'failed' ? result.error : undefined
  const opened = admission.settle(error ?? 'answered')
  suspects.note(scanner, identityOf(request), {
    ...(error && { error }),
    refused: tries.refused,
    opened,
    isTrial: admission.isTrial,
  })
  return result
}

/** What both tries of one scan saw. */
interface Tries {
  refused: boolean
  /** How the first one failed, where there was to be a second. */
  first?: FilterError
}

/** A second try that waited in vain for its turn tells nothing; the first one does. */
function withFirstFailure(result: ScanResult, { first }: Tries): ScanResult {
  if (result.outcome !== 'failed' || result.error.code !== 'E_SCANNER_BUSY' || !first) return result
  return { ...result, error: first }
}

async function scanTwice(
  { configured, request, tries }: Question & { readonly tries: Tries },
  retryPauseMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  const { scanner, timeoutMs } = configured
  const scan = async (): Promise<Verdict> => {
    try {
      return await scanner.scan(request, signal)
    } catch (error) {
      tries.refused ||= codeOf(error) === 'E_SCANNER_CONNECT'
      throw error
    }
  }
  try {
    return await scan()
  } catch (first) {
    const code = codeOf(first)
    if (signal.aborted || (code !== 'E_SCANNER_CONNECT' && code !== 'E_SCANNER_LOST')) throw first
    if (first instanceof FilterError) tries.first = first
    // An engine that restarts is not there for a moment; a lost connection may be the only one that was lost.
    if (code === 'E_SCANNER_CONNECT') await pause(Math.min(retryPauseMs, timeoutMs / 4), signal, first)
    return await again(scan, first)
  }
}

async function again(scan: () => Promise<Verdict>, first: unknown): Promise<Verdict> {
  try {
    return await scan()
  } catch (error) {
    // It was there and went away under this message: that says more than that it is not there now.
    throw codeOf(error) === 'E_SCANNER_CONNECT' ? first : error
  }
}

function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof FilterError ? error.code : undefined
}

/** @throws the error when there is no time left */
async function pause(ms: number, signal: AbortSignal, error: unknown): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch {
    // Only an abort ends it: then what was known before says more.
    throw error
  }
}

function givenUp(configured: ConfiguredScanner, failures: number): ScanResult {
  const what = `${configured.name}: not asked, it failed ${failures} times for this message`
  return failed({ ...configured, onError: 'unchecked' }, new FilterError('E_SCANNER_GIVEN_UP', what))
}

/** What stays the same when Postfix comes again with a message: XFORWARD IDENT, where it was sent, and its bytes. */
function identityOf({ envelope, message }: ScanRequest): string {
  return `${message.digest} ${envelope.client.queueId ?? ''}`
}
