import { formatScore, type Direction } from '@ecluse/core'
import { headerField } from '@ecluse/mail'
import {
  LOG_LEVELS,
  describeError,
  type LevelledLog,
  type LogFields,
  type LogLevel,
  type LogTarget,
} from './log.ts'
import type { MessageRecord, RecipientOutcome, RecipientRecord } from './record.ts'

/** amavisd's marks of severity. */
const MARKS: Readonly<Record<LogLevel, string>> = { error: '(!!)', warn: '(!)', info: '', debug: '' }

/** Lines in amavisd-new's form, without time: journald, syslog and containers put that in front. */
export function textLog(level: LogLevel, target: LogTarget): LevelledLog {
  let most = LOG_LEVELS.indexOf(level)
  const line =
    (of: LogLevel) =>
    (fields: LogFields, message: string): void => {
      if (LOG_LEVELS.indexOf(of) > most) return
      const err = 'err' in fields ? { err: JSON.stringify(describeError(fields['err'])) } : {}
      target.write(textLine(of, { ...fields, ...err }, message))
    }
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    message: (record) => {
      if (most >= LOG_LEVELS.indexOf('info')) for (const text of messageLines(record)) target.write(text)
    },
    setLevel(next) {
      most = LOG_LEVELS.indexOf(next)
    },
  }
}

/** A line that tells of no message: `(!)scanner failed id=… scanner=…`. */
function textLine(level: LogLevel, fields: LogFields, message: string): string {
  const told = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${safe(typeof value === 'string' ? value : JSON.stringify(value))}`)
  return `${MARKS[level]}${message}${told.join('')}\n`
}

let sequence = 0

/**
 * The line of one message in amavisd-new's form, which log tools read; two lines where some recipients were
 * passed and others blocked, as amavisd does it.
 */
function messageLines(record: MessageRecord): string[] {
  const logId = `${String(process.pid).padStart(5, '0')}-${String(++sequence).padStart(2, '0')}`
  const passed = record.recipients.filter(({ outcome }) => outcome === 'relayed')
  const blocked = record.recipients.filter(({ outcome }) => outcome !== 'relayed')
  return [
    ...(passed.length > 0 ? [messageLine(logId, 'Passed', record, passed)] : []),
    ...(blocked.length > 0 ? [messageLine(logId, 'Blocked', record, blocked)] : []),
  ]
}

function messageLine(
  logId: string,
  verb: 'Passed' | 'Blocked',
  record: MessageRecord,
  recipients: readonly RecipientRecord[],
): string {
  const { envelope, quarantineId } = record
  const { client, peer } = envelope
  const address = client.address ?? peer.address
  const actions = [
    actionOf(recipients, record.direction),
    ...(quarantineId === undefined ? [] : ['Quarantined']),
  ]
  const messageId = record.header && headerField(record.header, 'message-id')
  const queuedAs = [...new Set(recipients.flatMap((recipient) => recipient.queuedAs ?? []))]
  const parts = [
    `(${logId}) ${verb} ${categoryOf(record, recipients)} {${actions.join(',')}}`,
    `${address === undefined ? '' : `[${address}]${client.port === undefined ? '' : `:${client.port}`} `}` +
      `<${safe(envelope.mailFrom)}> -> ${recipients.map((of) => `<${safe(of.address)}>`).join(',')}`,
    ...(quarantineId === undefined ? [] : [`quarantine: ${quarantineId}`]),
    ...(client.queueId === undefined ? [] : [`Queue-ID: ${safe(client.queueId)}`]),
    ...(messageId === undefined ? [] : [`Message-ID: ${safe(messageId)}`]),
    `mail_id: ${record.id}`,
    `Hits: ${hitsOf(recipients)}`,
    `size: ${record.sizeBytes}`,
    ...(queuedAs.length === 0 ? [] : [`queued_as: ${queuedAs.join('/')}`]),
    ...(record.tests.length === 0
      ? []
      : [`Tests: [${record.tests.map(({ name, score }) => `${name}=${formatScore(score)}`).join(',')}]`]),
    `${Math.round(record.totalMs)} ms`,
  ]
  return `${parts.join(', ')}\n`
}

const OUTCOME_WORDS: Readonly<Record<Exclude<RecipientOutcome, 'relayed'>, string>> = {
  discarded: 'Discarded',
  rejected: 'Rejected',
  bounced: 'Bounced',
  tempfailed: 'TempFailed',
}
const DIRECTION_WORDS: Readonly<Record<Direction, string>> = {
  inbound: 'Inbound',
  outbound: 'Outbound',
  internal: 'Internal',
  'open-relay': 'OpenRelay',
}

function actionOf([first]: readonly RecipientRecord[], direction: Direction): string {
  const outcome = first?.outcome ?? 'tempfailed'
  const tagged = first?.category === 'spammy' || first?.category === 'spam'
  const verb = outcome === 'relayed' ? (tagged ? 'RelayedTagged' : 'Relayed') : OUTCOME_WORDS[outcome]
  return `${verb}${DIRECTION_WORDS[direction]}`
}

function categoryOf(record: MessageRecord, [first]: readonly RecipientRecord[]): string {
  const category = first?.category ?? record.category
  // Clean, and yet not passed: the next hop did not want it.
  if (category === 'clean' && first?.outcome !== 'relayed') return 'MTA-BLOCKED'
  if (category === 'virus') return `INFECTED (${record.viruses.join(', ')})`
  return category.toUpperCase()
}

function hitsOf(recipients: readonly RecipientRecord[]): string {
  const scores = recipients.flatMap(({ score }) => score ?? [])
  if (scores.length === 0) return '-'
  const [least, most] = [Math.min(...scores), Math.max(...scores)]
  return least === most ? formatScore(least) : `${formatScore(least)}..${formatScore(most)}`
}

const MAX_FIELD = 980

/** One line stays one line, and a terminal is not commanded: everything but printable text is escaped. */
function safe(text: string): string {
  return text
    .slice(0, MAX_FIELD)
    .replace(/[\p{C}\p{Zl}\p{Zp}\\]/gu, (character) =>
      character === '\\' ? '\\\\' : `\\x{${(character.codePointAt(0) ?? 0).toString(16)}}`,
    )
}
