/** Stable codes: match on these, never on the message. */
export type ErrorCode =
  | 'E_USAGE'
  | 'E_CONFIG'
  | 'E_LISTEN'
  | 'E_ABORTED'
  | 'E_SPOOL'
  | 'E_SPOOL_FULL'
  | 'E_SCANNER_CONNECT'
  | 'E_SCANNER_TIMEOUT'
  | 'E_SCANNER_BUSY'
  | 'E_SCANNER_PROTOCOL'
  | 'E_SCANNER_LIMIT'
  | 'E_SCANNER_LOST'
  | 'E_SCANNER_CIRCUIT_OPEN'
  | 'E_SCANNER_GIVEN_UP'
  | 'E_QUARANTINE'
  | 'E_LEDGER'
  | 'E_REDIS'
  | 'E_REINJECT_CONNECT'
  | 'E_REINJECT_TIMEOUT'
  | 'E_REINJECT_LOST'
  | 'E_REINJECT_PROTOCOL'

/** Where in a file an error is: 1-based, as editors count. */
export interface ErrorPlace {
  readonly file?: string
  readonly line?: number
  readonly column?: number
}

/** Every error that this project throws on purpose. The message says what, `hint` the cure. */
export class FilterError extends Error {
  readonly code: ErrorCode
  readonly hint?: string
  readonly place?: ErrorPlace
  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; hint?: string; place?: ErrorPlace } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined)
    this.name = 'FilterError'
    this.code = code
    if (options.hint !== undefined) this.hint = options.hint
    if (options.place !== undefined) this.place = options.place
  }
}

// libuv has no name for the error of a full quota (122 on Linux), and Node.js makes this of it.
const NAMELESS: ReadonlyMap<string, string> = new Map([['Unknown system error -122', 'EDQUOT']])

/** The name of the system error that a file operation failed with, such as ENOSPC; absent: it failed with none. */
export function systemErrorName(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return undefined
  const { code } = cause
  return typeof code === 'string' ? (NAMELESS.get(code) ?? code) : undefined
}
