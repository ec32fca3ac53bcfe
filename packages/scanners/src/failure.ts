import { FilterError } from '@ecluse/core'

/** Error codes of a connection that never came about. */
const NOT_CONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOENT',
  'EACCES',
  'ENOTSOCK',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
])

/** Error codes of a connection that was there, and ended before the answer. */
const LOST: ReadonlySet<unknown> = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'ERR_STREAM_PREMATURE_CLOSE',
])

/** Names a failed scan: who, where, and which of the scanner codes it is. A FilterError stays as it is. */
export function scannerFailure(where: string, cause: unknown, signal: AbortSignal): FilterError {
  if (cause instanceof FilterError) return cause
  if (signal.aborted) return abortFailure(where, signal)
  const error = codeOf(cause)
  if (NOT_CONNECTED.has(error)) {
    return new FilterError('E_SCANNER_CONNECT', `${where}: cannot connect`, { cause })
  }
  if (LOST.has(error)) return lostError(where, cause)
  return new FilterError('E_SCANNER_PROTOCOL', `${where}: connection broke off`, { cause })
}

/** The connection ended before any answer: the engine may have crashed, or been ended. */
export function lostError(where: string, cause?: unknown): FilterError {
  return new FilterError('E_SCANNER_LOST', `${where}: connection lost`, cause === undefined ? {} : { cause })
}

/** Why a signal aborted: its own FilterError, E_SCANNER_TIMEOUT for `AbortSignal.timeout`, otherwise E_ABORTED. */
export function abortFailure(where: string, signal: AbortSignal): FilterError {
  const cause: unknown = signal.reason
  if (cause instanceof FilterError) return cause
  const timedOut =
    typeof cause === 'object' && cause !== null && 'name' in cause && cause.name === 'TimeoutError'
  return timedOut
    ? new FilterError('E_SCANNER_TIMEOUT', `${where}: no answer in time`, { cause })
    : new FilterError('E_ABORTED', `${where}: aborted`, { cause })
}

/** An answer that does not fit the protocol. */
export function protocolError(what: string, cause?: unknown): FilterError {
  return new FilterError('E_SCANNER_PROTOCOL', what, cause === undefined ? {} : { cause })
}

/** The `code` of an error of Node's; absent: it has none. */
export function codeOf(cause: unknown): unknown {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined
}
