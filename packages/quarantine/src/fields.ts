import { FilterError, formatScore, spamLevel, spamTests, type Decision } from '@ecluse/core'
import { isSound, type Facts } from './facts.ts'
import { highestScore, isBlocked, type QuarantineEntry, type QuarantineRecord } from './record.ts'

// A file in quarantine is the original with fields of ours in front, first those that amavisd writes, in its order,
// for people and for its tools; then one that tells everything exactly. That last one also says where the original
// begins: an original may start with the same fields, or even with a blank, and must not become part of ours.
const MARK = '\r\nX-Ecluse-Quarantine: v=1; header-bytes='
const LENGTH_DIGITS = 10
const FIRST = 'Return-Path: <'
const LINE_LENGTH = 78

/** What an entry says of the original. */
export interface OriginalFacts {
  readonly sizeBytes: number
  readonly digest: string
  /** Decoded; absent: the message has none. */
  readonly subject?: string
}

/** Fields read from the front of a file: as it was stored, whatever has happened to it since. */
export interface ReadFields {
  readonly entry: QuarantineEntry
  /** Where the original begins. */
  readonly headerBytes: number
}

/** Writes the fields that stand before the original: ASCII, but for 8-bit bytes of addresses; every line ends in CRLF. */
export function formatFields(record: QuarantineRecord, original: OriginalFacts): Buffer {
  const { envelope, decisions } = record
  const blocked = decisions.filter(isBlocked)
  const sender = path(envelope.mailFrom)
  const shown = [
    `Return-Path: ${sender}`,
    `X-Envelope-From: ${sender}`,
    pathList('X-Envelope-To', envelope.recipients),
    pathList(
      'X-Envelope-To-Blocked',
      blocked.map(({ recipient }) => recipient),
    ),
    `X-Quarantine-ID: <${record.id}>`,
    ...alertFields(record),
    ...spamFields(decisions),
    ...(record.received === undefined ? [] : [fold(`Received: ${clean(record.received)}`)]),
  ].join('\r\n')
  const facts = foldAnywhere(asciiJson(factsOf(record, original)))
  const headerBytes =
    shown.length + MARK.length + LENGTH_DIGITS + '; \r\n'.length + facts.length + '\r\n'.length
  const length = String(headerBytes).padStart(LENGTH_DIGITS, '0')
  return Buffer.from(`${shown}${MARK}${length};\r\n ${facts}\r\n`, 'latin1')
}

/**
 * Reads the fields at the front of a file, from its first bytes.
 *
 * @returns the number of bytes to come again with, where these are too few.
 * @throws FilterError E_QUARANTINE when the file is not one of ours, or is damaged.
 */
export function readFields(bytes: Buffer): ReadFields | number {
  const begin = bytes.subarray(0, FIRST.length).toString('latin1')
  if (!FIRST.startsWith(begin)) throw damaged('is not a file of the quarantine')
  const mark = bytes.indexOf(MARK, 0, 'latin1')
  const lengthAt = mark + MARK.length
  const factsAt = lengthAt + LENGTH_DIGITS + ';\r\n '.length
  if (mark === -1 || bytes.length < factsAt) {
    if (mark === -1 && bytes.includes('\r\n\r\n')) throw damaged('has lost its fields')
    return Math.max(bytes.length, LINE_LENGTH) * 4
  }
  const headerBytes = Number(bytes.toString('latin1', lengthAt, lengthAt + LENGTH_DIGITS))
  if (!Number.isSafeInteger(headerBytes) || headerBytes <= factsAt)
    throw damaged('has a wrong length of fields')
  if (bytes.length < headerBytes) return headerBytes
  const facts = bytes.toString('latin1', factsAt, headerBytes)
  if (!facts.endsWith('\r\n')) throw damaged('has a wrong length of fields')
  return { entry: readFacts(facts.slice(0, -2).replaceAll('\r\n ', '')), headerBytes }
}

function factsOf(record: QuarantineRecord, original: OriginalFacts): Facts {
  const { id, category, storedAt, hostname, envelope } = record
  const places = new Map(envelope.recipients.map((recipient, index) => [recipient, index]))
  return {
    id,
    category,
    storedAt: storedAt.toISOString(),
    hostname,
    sizeBytes: original.sizeBytes,
    digest: original.digest,
    ...(original.subject !== undefined && { subject: original.subject }),
    envelope,
    outcomes: record.decisions.map(({ recipient, local, destiny, quarantined, reason, ...decision }) => {
      const rcpt = places.get(recipient)
      if (rcpt === undefined) throw new TypeError('a decision for a recipient that is not of the envelope')
      const score = decision.score === undefined ? {} : { score: decision.score }
      return { rcpt, category: decision.category, destiny, local, quarantined, ...score, reason }
    }),
  }
}

function readFacts(json: string): QuarantineEntry {
  try {
    const read: unknown = JSON.parse(json)
    if (!isSound(read)) throw new RangeError('not the facts of an entry')
    const { outcomes, envelope, storedAt, ...same } = read
    return {
      ...same,
      storedAt: new Date(storedAt),
      envelope,
      outcomes: outcomes.map(({ rcpt, ...outcome }) => {
        const recipient = envelope.recipients[rcpt]
        if (recipient === undefined) throw new RangeError('no such recipient')
        return { recipient, ...outcome, ...(outcome.quarantined && { state: 'kept' as const }) }
      }),
      releases: [],
    }
  } catch (cause) {
    throw damaged('has damaged fields', cause)
  }
}

function damaged(what: string, cause?: unknown): FilterError {
  return new FilterError('E_QUARANTINE', what, { ...(cause !== undefined && { cause }) })
}

/** ASCII only, so that no tool that reads the file as some charset can change it. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\x7f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Folds between any two characters: the reader joins the lines exactly, blanks included. */
function foldAnywhere(text: string): string {
  return (text.match(new RegExp(`.{1,${LINE_LENGTH - 1}}`, 'g')) ?? []).join('\r\n ')
}

/** Folds before a blank or after a comma. What is longer than a line stays whole. */
function fold(field: string): string {
  const lines: string[] = []
  let line = ''
  for (const piece of field.split(/(?= )|(?<=,)(?=[^ ])/)) {
    if (line !== '' && line.length + piece.length > LINE_LENGTH) {
      lines.push(line)
      line = piece.startsWith(' ') ? piece : ` ${piece}`
    } else line += piece
  }
  return [...lines, line].join('\r\n')
}

function pathList(name: string, recipients: QuarantineRecord['envelope']['recipients']): string {
  const lines: string[] = []
  let line = `${name}:`
  for (const [index, { address }] of recipients.entries()) {
    const item = ` ${path(address)}${index < recipients.length - 1 ? ',' : ''}`
    if (index > 0 && line.length + item.length > LINE_LENGTH) {
      lines.push(line)
      line = item
    } else line += item
  }
  return [...lines, line].join('\r\n')
}

/** As latin1, one character for each byte that stood in the dialogue; a lone surrogate stands for its low byte. */
function path(address: string): string {
  const pieces = address.split(/([\u{dc80}-\u{dcff}])/u)
  const bytes = pieces.map((piece, index) =>
    index % 2 === 1 ? Buffer.from([piece.charCodeAt(0) & 0xff]) : Buffer.from(piece, 'utf8'),
  )
  return `<${clean(Buffer.concat(bytes).toString('latin1'))}>`
}

/** No value may begin a new line. */
function clean(text: string): string {
  // oxlint-disable-next-line no-control-regex -- replacing them is the purpose
  return text.replace(/[\x00-\x1f\x7f]/g, '?')
}

function alertFields({ alertHeader, decisions }: QuarantineRecord): string[] {
  const virus = decisions.find(({ assessment }) => assessment.viruses.length > 0)
  if (virus === undefined) return []
  const names = virus.assessment.viruses.join(', ')
  return [fold(`${clean(alertHeader)}: INFECTED, message contains virus: ${clean(names)}`)]
}

/** amavisd's form for the quarantine: the scores of all recipients, and the lowest of their levels. */
function spamFields(decisions: readonly Decision[]): string[] {
  const scores = decisions.flatMap(({ score }) => (score === undefined ? [] : [score]))
  const highest = highestScore(decisions)
  if (highest === undefined) return []
  const lowest = scores.reduce((least, score) => Math.min(least, score))
  const level = (of: (decision: Decision) => number): number =>
    decisions.reduce((least, decision) => Math.min(least, of(decision)), Infinity)
  const tag2 = level(({ policy }) => policy.tag2Level)
  const [low, high] = [formatScore(lowest), formatScore(highest)]
  const tests = decisions[0] ? clean(spamTests(decisions[0])) : ''
  const flag = highest >= tag2
  const stars = spamLevel(highest)
  return [
    `X-Spam-Flag: ${flag ? 'YES' : 'NO'}`,
    `X-Spam-Score: ${high}`,
    `X-Spam-Level:${stars === '' ? '' : ` ${stars}`}`,
    fold(
      `X-Spam-Status: ${flag ? 'Yes' : 'No'}, score=${low === high ? high : `${low}..${high}`}` +
        ` tag=${formatScore(level(({ policy }) => policy.tagLevel))} tag2=${formatScore(tag2)}` +
        ` kill=${formatScore(level(({ policy }) => policy.killLevel))} tests=[${tests}] autolearn=unavailable`,
    ),
  ]
}
