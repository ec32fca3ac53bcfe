/** What the keys of verdicts begin with, as the cache makes them; in Redis it is `redis.prefix`. */
const CACHE_PREFIX = 'ecluse:'
const CLAIM = ':claim'
/** The digest of the content, and what follows it. */
const TAIL = /^(.*:|)([^:-]*)([^:]*)$/s
const NAME = /^([^:{}]+):([^:{}]+):[^:{}]*:\{([^:{}]*)\}(?:-[^:{}]*)?$/

/**
 * The key in Redis of a verdict. The digest of the content stands in braces: a Cluster keeps all verdicts of one message on
 * one node, so that they can be asked for at once.
 *
 * @param key `ecluse:v1:SCANNER:VERSION:OPTIONS:DIGEST`, or the same with `-DIGEST` of what else the scanner is told
 */
export function verdictKey(prefix: string, key: string): string {
  const own = key.startsWith(CACHE_PREFIX) ? key.slice(CACHE_PREFIX.length) : key
  // A brace further in front would be taken for the beginning of the digest.
  const [, source = '', digest = '', told = ''] = TAIL.exec(own.replaceAll(/[{}]/g, '_')) ?? []
  return `${prefix}:${source}{${digest}}${told}`
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
  const start = `${prefix}:v1:`
  const [, scanner, version, digest] = key.startsWith(start) ? (NAME.exec(key.slice(start.length)) ?? []) : []
  if (scanner === undefined || version === undefined || digest === undefined) return undefined
  return { scanner, version, digest }
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
