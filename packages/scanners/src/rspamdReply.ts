import { printable, type SpamSymbol, type Verdict } from '@ecluse/core'
import { protocolError } from './failure.ts'
import { rspamdProofs } from './proof.ts'
import { scoreFinding } from './score.ts'

/** Actions that refuse the message: rspamd may choose them whatever the score, as for GTUBE. */
const REFUSING: ReadonlySet<string> = new Set(['reject', 'discard', 'quarantine'])
/** The threshold of "reject" in rspamd's own configuration, for where a reply has none. */
const DEFAULT_REQUIRED = 15

/**
 * Reads the reply to /checkv2. A refusing action counts at least as its threshold. "soft reject" and "greylist" do not
 * change the points: they are about when, not what, and Postfix is past that. Skipped by rspamd's own settings, without
 * an action: no score.
 *
 * @param mailFrom envelope sender as it was given to rspamd
 * @throws FilterError E_SCANNER_PROTOCOL: not JSON of that form.
 */
export function readRspamdReply(text: string, mailFrom: string): Verdict {
  const reply = parseObject(text)
  const action = reply['action']
  const score = reply['score']
  if (typeof action !== 'string' || typeof score !== 'number') {
    throw protocolError(`rspamd: no score in: ${printable(text)}`)
  }
  const refusing = REFUSING.has(action)
  if (reply['is_skipped'] === true && !refusing) return { findings: [] }
  const required = readRequired(reply['required_score'])
  const points = refusing ? Math.max(score, required ?? DEFAULT_REQUIRED) : score
  const symbols = reply['symbols']
  if (!isObject(symbols)) throw protocolError('rspamd: no symbols')
  return {
    findings: [scoreFinding(points, required, readSymbols(symbols)), ...rspamdProofs(symbols, mailFrom)],
  }
}

function readRequired(value: unknown): number | undefined {
  // There is none where the site has no threshold for "reject".
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'number') throw protocolError('rspamd: required_score is not a number')
  return value
}

function readSymbols(symbols: Readonly<Record<string, unknown>>): SpamSymbol[] {
  return Object.entries(symbols).map(([name, symbol]) => {
    const score = isObject(symbol) ? symbol['score'] : undefined
    if (typeof score !== 'number') throw protocolError(`rspamd: symbol without score: ${printable(name)}`)
    return { name, score }
  })
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw protocolError('rspamd: not JSON', cause)
  }
  if (!isObject(value)) throw protocolError(`rspamd: not an object: ${printable(text)}`)
  return value
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Reads the controller's reply to a message to learn: whether something was learned.
 *
 * @throws FilterError E_SCANNER_PROTOCOL: refused, with its reason.
 */
export function readLearnReply({
  status,
  body,
}: {
  readonly status: number
  readonly body: string
}): boolean {
  // 208: learned before; 204: its own conditions are against it, as with too few words.
  if (status === 208) return false
  let reply: { readonly success?: unknown; readonly error?: unknown } = {}
  try {
    reply = Object(JSON.parse(body)) as typeof reply
  } catch {
    // An empty body, or a page: the status says enough.
  }
  if (status === 200 && reply.success === true) return true
  const why = typeof reply.error === 'string' ? `: ${printable(reply.error)}` : ''
  if (/already (?:been )?learned|has been already/i.test(why)) return false
  throw protocolError(`rspamd: ${status}${why}`)
}
