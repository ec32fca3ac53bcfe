import { FilterError, systemErrorName } from '@ecluse/core'

interface Cure {
  readonly what: string
  readonly hint: string
}

const AWAY = 'start it, or correct quarantine.url'
const LOGIN = 'correct user and password in quarantine.url, or pg_hba.conf'
const TABLES = 'start `ecluse serve` with a role that may create tables: it makes them'
const CERTIFICATE =
  'name its authority in quarantine.url: sslrootcert=/PATH; the host must be that of its certificate'

/** By SQLSTATE (PostgreSQL, appendix A), or by the name of a system error. */
const CURES: Readonly<Record<string, Cure>> = {
  ECONNREFUSED: { what: 'nobody listens there', hint: AWAY },
  ECONNRESET: { what: 'the connection was lost', hint: AWAY },
  EPIPE: { what: 'the connection was lost', hint: AWAY },
  ENOENT: { what: 'there is no such socket', hint: AWAY },
  ENOTFOUND: { what: 'there is no such host', hint: AWAY },
  EAI_AGAIN: { what: 'the name of the host cannot be looked up', hint: AWAY },
  EHOSTUNREACH: { what: 'the host cannot be reached', hint: AWAY },
  EACCES: { what: 'its socket may not be used', hint: 'let the user that ecluse runs as use it' },
  SELF_SIGNED_CERT_IN_CHAIN: { what: 'its certificate is not trusted', hint: CERTIFICATE },
  DEPTH_ZERO_SELF_SIGNED_CERT: { what: 'its certificate is not trusted', hint: CERTIFICATE },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: { what: 'its certificate is not trusted', hint: CERTIFICATE },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: { what: 'its certificate is not trusted', hint: CERTIFICATE },
  ERR_TLS_CERT_ALTNAME_INVALID: { what: 'its certificate is of another host', hint: CERTIFICATE },
  CERT_HAS_EXPIRED: { what: 'its certificate has expired', hint: 'give the server a new one' },
  '25006': { what: 'it is read-only', hint: 'name the primary server in quarantine.url' },
  '28000': { what: 'the login is refused', hint: LOGIN },
  '28P01': { what: 'the password is wrong', hint: LOGIN },
  '3D000': { what: 'there is no such database', hint: 'create it, or correct quarantine.url' },
  '3F000': { what: 'there is no schema to create tables in', hint: 'correct search_path of the role' },
  '42501': { what: 'the role lacks a right', hint: 'make the role the owner of the database' },
  '42P01': { what: 'it lacks our tables', hint: TABLES },
  '53100': {
    what: 'its disk is full',
    hint: 'make room, or delete old mail with `ecluse quarantine expire`',
  },
  '53200': { what: 'it is out of memory', hint: 'see its log' },
  '53300': {
    what: 'it has no connection free',
    hint: 'raise its max_connections, or lower quarantine.connections',
  },
  '55P03': { what: 'another process holds a lock for too long', hint: 'see pg_stat_activity' },
  '57014': { what: 'it was too slow', hint: 'see its load and its log, or raise quarantine.timeout' },
  '57P01': { what: 'it is being shut down', hint: AWAY },
  '57P02': { what: 'it has crashed', hint: 'see its log' },
  '57P03': { what: 'it is starting, or being shut down', hint: 'wait, or see its log' },
  '58030': { what: 'its disk fails', hint: 'see its log' },
  XX001: { what: 'its data are damaged', hint: 'see its log' },
}

/** What went wrong with the connection itself, and has no code. */
export const TIMEOUT: Cure = {
  what: 'no answer in time',
  hint: 'see whether it runs and what it does, or raise quarantine.timeout',
}
export const ENDED: Cure = { what: 'the connection was ended', hint: AWAY }

/**
 * A failure of the client library as E_QUARANTINE. Of what the server said, only the code is told: detail, context and
 * often the message itself hold data, which are of a stranger's mail.
 *
 * @param where without a password
 */
export function postgresError(cause: unknown, where: string): FilterError {
  if (cause instanceof FilterError) return cause
  const code = systemErrorName(cause)
  const cure = (code === undefined ? undefined : CURES[code]) ?? withoutCode(cause)
  const what = [cure?.what, code].filter((each) => each !== undefined).join(', ')
  return new FilterError('E_QUARANTINE', `PostgreSQL ${where}: ${what || 'failed'}`, {
    hint: cure?.hint ?? 'see the log of the server',
  })
}

/** The library's own errors, which have texts only. */
function withoutCode(cause: unknown): Cure | undefined {
  const { message }: { message?: unknown } = typeof cause === 'object' && cause !== null ? cause : {}
  if (typeof message !== 'string') return undefined
  if (/timeout/i.test(message)) return TIMEOUT
  if (/terminated|not queryable|connection error/i.test(message)) return ENDED
  if (/not the protocol/.test(message)) {
    return { what: 'what answers there is no PostgreSQL', hint: 'correct quarantine.url' }
  }
  if (/does not support SSL/.test(message)) {
    return { what: 'it speaks no TLS', hint: 'switch ssl on there, or write sslmode=disable' }
  }
  if (/SASL|password/i.test(message)) return { what: 'it wants a password', hint: LOGIN }
  return undefined
}
