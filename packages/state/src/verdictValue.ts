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

/** @returns absent: it is too long to be remembered */
export function packVerdict(remembered: RememberedVerdict): Buffer | undefined {
  const value = Buffer.from(writeVerdict(remembered))
  return value.length > MAX_VALUE_BYTES ? undefined : value
}

/**
 * Reads what {@link packVerdict} made. Who may have written it is for the level that instances share to say.
 *
 * @param now Unix milliseconds
 * @returns absent: it is none, or would hold for longer than any of ours; its time may be over
 */
export function unpackVerdict(value: Buffer, now: number): RememberedVerdict | undefined {
  if (value.length > MAX_VALUE_BYTES) return undefined
  const remembered = readVerdict(value.toString('utf8'))
  return remembered && remembered.expiresAt <= now + MAX_TTL_MS ? remembered : undefined
}
