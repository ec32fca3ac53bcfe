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

/** Names a failed scan: who, where, and which of the scanner codes it is. A FilterError stays as it is. */
export function scannerFailure(where: string, cause: unknown, signal: AbortSignal): FilterError {
  if (cause instanceof FilterError) return cause
  if (signal.aborted) return abortFailure(where, signal)
  const code = NOT_CONNECTED.has(codeOf(cause)) ? 'E_SCANNER_CONNECT' : 'E_SCANNER_PROTOCOL'
  const what = code === 'E_SCANNER_CONNECT' ? 'cannot connect' : 'connection broke off'
  return new FilterError(code, `${where}: ${what}`, { cause })
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
