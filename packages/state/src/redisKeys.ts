/** What the keys of verdicts begin with, as the cache makes them; in Redis it is `redis.prefix`. */
const CACHE_PREFIX = 'ecluse:'
const CLAIM = ':claim'

/**
 * The key in Redis of a verdict. The last part, the digest, stands in braces: a Cluster keeps all verdicts of one message
 * on one node, so that they can be asked for at once.
 *
 * @param key `ecluse:v1:SCANNER:VERSION:OPTIONS:DIGEST`
 */
export function verdictKey(prefix: string, key: string): string {
  const own = key.startsWith(CACHE_PREFIX) ? key.slice(CACHE_PREFIX.length) : key
  const at = own.lastIndexOf(':') + 1
  // A brace further in front would be taken for the beginning of the digest.
  return `${prefix}:${own.slice(0, at).replaceAll(/[{}]/g, '_')}{${own.slice(at).replaceAll(/[{}]/g, '_')}}`
}

/** Beside a verdict: who makes it. */
export function claimKey(prefix: string, key: string): string {
  return `${verdictKey(prefix, key)}${CLAIM}`
}

/** What the ledger knows of a message, and who works on it. */
export function ledgerKeys(prefix: string, key: string): { readonly known: string; readonly turns: string } {
  return { known: `${prefix}:ledger:{${key}}`, turns: `${prefix}:ledger:{${key}}:turns` }
}

/** What can be told of a verdict from its key. */
export interface VerdictName {
  readonly scanner: string
  /** As the cache writes it into the key. */
  readonly version: string
  readonly digest: string
}

/** Absent: it is no verdict of ours. */
export function verdictName(prefix: string, key: string): VerdictName | undefined {
  if (!key.startsWith(`${prefix}:v1:`) || !key.endsWith('}')) return undefined
  const [scanner, version, , digest, ...more] = key.slice(prefix.length + 4, -1).split(':')
  if (scanner === undefined || version === undefined || digest === undefined || more.length > 0)
    return undefined
  return { scanner, version, digest: digest.replace('{', '') }
}

/** What SCAN looks for: keys of verdicts; absent parts are any. Claims are among what is found. */
export function verdictPattern(
  prefix: string,
  wanted: Partial<Pick<VerdictName, 'scanner' | 'digest'>>,
): string {
  const part = (text: string | undefined): string => (text === undefined ? '*' : escapeGlob(text))
  return `${escapeGlob(prefix)}:v1:${part(wanted.scanner)}:*{${part(wanted.digest)}}*`
}

function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]]/g, '\\$&')
}
