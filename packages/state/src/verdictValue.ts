import { createHmac, timingSafeEqual } from 'node:crypto'
import type { AuthenticationMethod, Finding, SpamSymbol, Verdict } from '@ecluse/core'

/** A verdict as it is remembered. */
export interface RememberedVerdict {
  readonly verdict: Verdict
  /** Unix milliseconds. */
  readonly expiresAt: number
  /** The copies that it is true of, by {@link VerdictPlace.trace}; absent: all. */
  readonly trace?: string
}

/** Longer ones are not remembered: a verdict of 200 symbols has some 25 KB. */
export const MAX_VALUE_BYTES = 32 * 1024
const FORMAT = 1
const MAX_FINDINGS = 1000
const MAX_SYMBOLS = 200
const MAX_POINTS = 1_000_000
const MAX_TTL_MS = 30 * 86_400_000
const MAC_LENGTH = 43
const METHODS: ReadonlySet<unknown> = new Set<AuthenticationMethod>(['dkim', 'spf', 'dmarc'])
const PRINTABLE = /^[\x20-\x7e]*$/

/**
 * Whether it may be due to the trace fields too, which whoever sends a copy can write as he likes: a signature that
 * matches there would make every other copy a virus, and a check of SPF may be about a client that they name. A clean
 * verdict, or a score, of one copy is believed for all.
 */
export function dependsOnTrace({ findings }: Verdict): boolean {
  return findings.some(({ kind }) => kind === 'virus' || kind === 'authenticated')
}

/** A verdict as text: `{"v":1,"e":EXPIRES,"t":TRACE,"f":[["v",NAME],["s",POINTS,REQUIRED,[[SYMBOL,SCORE]]],["a",…]]}`. */
export function writeVerdict({ verdict, expiresAt, trace }: RememberedVerdict): string {
  return JSON.stringify({
    v: FORMAT,
    e: expiresAt,
    ...(trace !== undefined && { t: trace }),
    f: verdict.findings.map(compact),
  })
}

function compact(finding: Finding): unknown[] {
  switch (finding.kind) {
    case 'virus':
      return ['v', finding.name]
    case 'score':
      return [
        's',
        finding.points,
        finding.required ?? null,
        finding.symbols.map(({ name, score }) => [name, score]),
      ]
    case 'authenticated':
      return ['a', finding.method, finding.identity]
    case 'unchecked':
      throw new TypeError('an incomplete verdict is not remembered')
  }
}

/**
 * Reads what {@link writeVerdict} wrote. Whatever else it is, nobody is hurt by it.
 *
 * @returns absent: it is none, or says what no scanner could say
 */
export function readVerdict(text: string): RememberedVerdict | undefined {
  const value = parse(text)
  if (!isRecord(value) || value['v'] !== FORMAT) return undefined
  const { e: expiresAt, t: trace, f: list } = value
  if (typeof expiresAt !== 'number' || !Number.isSafeInteger(expiresAt)) return undefined
  if (trace !== undefined && (typeof trace !== 'string' || !/^[0-9a-f]{64}$/.test(trace))) return undefined
  if (!Array.isArray(list) || list.length > MAX_FINDINGS) return undefined
  const findings = list.map((entry: unknown) => (Array.isArray(entry) ? readFinding(entry) : undefined))
  if (!findings.every((finding) => finding !== undefined)) return undefined
  const verdict = { findings }
  if (dependsOnTrace(verdict) && trace === undefined) return undefined
  return { verdict, expiresAt, ...(trace !== undefined && { trace }) }
}

function readFinding([kind, ...rest]: readonly unknown[]): Finding | undefined {
  if (kind === 'v') return readVirus(rest)
  if (kind === 's') return readScore(rest)
  return kind === 'a' ? readProof(rest) : undefined
}

function readVirus([name, ...more]: readonly unknown[]): Finding | undefined {
  return isText(name, 200) && more.length === 0 ? { kind: 'virus', name } : undefined
}

function readScore([points, required, list, ...more]: readonly unknown[]): Finding | undefined {
  if (!isPoints(points) || (required !== null && !isPoints(required)) || more.length > 0) return undefined
  if (!Array.isArray(list) || list.length > MAX_SYMBOLS) return undefined
  const symbols = list.map((entry: unknown) => (Array.isArray(entry) ? readSymbol(entry) : undefined))
  if (!symbols.every((symbol) => symbol !== undefined)) return undefined
  return { kind: 'score', points, ...(required !== null && { required }), symbols }
}

function readSymbol([name, score, ...more]: readonly unknown[]): SpamSymbol | undefined {
  return isText(name, 100) && name !== '' && isPoints(score) && more.length === 0
    ? { name, score }
    : undefined
}

function readProof([method, identity, ...more]: readonly unknown[]): Finding | undefined {
  if (!METHODS.has(method) || more.length > 0) return undefined
  const who = readIdentity(identity)
  return who && { kind: 'authenticated', method: method as AuthenticationMethod, identity: who }
}

function readIdentity(value: unknown): 'mail-from' | 'from' | { readonly domain: string } | undefined {
  if (value === 'mail-from' || value === 'from') return value
  if (!isRecord(value) || !isText(value['domain'], 255) || value['domain'] === '') return undefined
  return Object.keys(value).length === 1 ? { domain: value['domain'] } : undefined
}

function isText(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value.length <= maxLength && PRINTABLE.test(value)
}

function isPoints(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= MAX_POINTS
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // What is no JSON is no verdict.
    return undefined
  }
}

/** Writes and reads verdicts for a place that others can write to. */
export interface VerdictSeal {
  /** @returns absent: it is too long to be remembered */
  close(key: string, text: string): Buffer | undefined
  /**
   * @param now Unix milliseconds
   * @returns absent: nobody who knows the secret has written it for this key, it is none, or its time is over
   */
  open(key: string, sealed: Buffer, now: number): RememberedVerdict | undefined
}

/**
 * With a secret, a value begins with an HMAC-SHA256 over key and text (RFC 2104), 43 characters of base64url: whoever can
 * write to the place cannot make a virus clean, nor bring back a verdict for another key or after its time.
 *
 * @param secret absent: everybody who can write there is believed
 */
export function verdictSeal(secret?: string): VerdictSeal {
  const macOf = (key: string, text: string): string =>
    secret === undefined ? '' : createHmac('sha256', secret).update(`${key}\n${text}`).digest('base64url')
  const unseal = (key: string, sealed: Buffer): string | undefined => {
    const text = sealed.toString('utf8')
    if (secret === undefined) return text
    const mac = Buffer.from(text.slice(0, MAC_LENGTH))
    const wanted = Buffer.from(macOf(key, text.slice(MAC_LENGTH)))
    return mac.length === wanted.length && timingSafeEqual(mac, wanted) ? text.slice(MAC_LENGTH) : undefined
  }
  return {
    close(key, text) {
      const sealed = Buffer.from(macOf(key, text) + text)
      return sealed.length > MAX_VALUE_BYTES ? undefined : sealed
    },
    open(key, sealed, now) {
      if (sealed.length > MAX_VALUE_BYTES) return undefined
      const text = unseal(key, sealed)
      const remembered = text === undefined ? undefined : readVerdict(text)
      if (!remembered || remembered.expiresAt > now + MAX_TTL_MS) return undefined
      return remembered
    },
  }
}
