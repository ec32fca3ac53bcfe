import { type DeliveryResult, formatScore } from '@ecluse/core'
import type { DisplayedMessage } from '@ecluse/mail'
import {
  itemOf,
  summarize,
  type QuarantineEntry,
  type QuarantineItem,
  type QuarantineOutcome,
  type QuarantineStats,
  type Release,
} from '@ecluse/quarantine'
import { escapeControls, visibleJson } from '../terminal.ts'

const COLUMNS = [
  { name: 'ID', width: 12 },
  { name: 'STORED (UTC)', width: 16 },
  { name: 'CATEGORY', width: 10 },
  { name: 'SCORE', width: 8 },
  { name: 'FROM', width: 26 },
  { name: 'TO', width: 26 },
  { name: 'SUBJECT', width: 50 },
] as const

/** Text of strangers, several lines of it, that a terminal cannot be led astray by. */
function visibleLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => line.split('\t').map(escapeControls).join('\t'))
    .join('\n')
}

/** The line above the rows of {@link listRow}. */
export function listHead(): string {
  return row(COLUMNS.map(({ name }) => name))
}

/** One entry as a row of fixed columns; what does not fit is cut. */
export function listRow(item: QuarantineItem): string {
  const { id, category, score, mailFrom, subject = '' } = item
  const recipients = item.recipients.map(({ address }) => address)
  const [first = '', ...others] = recipients
  return row([
    id,
    shortDate(item.storedAt),
    category,
    score === undefined ? '-' : formatScore(score),
    mailFrom === '' ? '<>' : mailFrom,
    others.length === 0 ? first : `${cut(escapeControls(first), 19)} +${others.length}`,
    subject,
  ])
}

function row(cells: readonly string[]): string {
  return cells
    .map((cell, index) => {
      const { width } = COLUMNS[index] ?? { width: 0 }
      return cut(escapeControls(cell), width).padEnd(width)
    })
    .join('  ')
    .trimEnd()
}

function cut(text: string, width: number): string {
  // No more characters than units.
  if (text.length <= width) return text
  const characters = Array.from(text)
  return characters.length > width ? `${characters.slice(0, width - 1).join('')}…` : text
}

const MINUTE_MS = 60_000
/** The minute that was written last: in a list the next one is mostly of the same. */
const lastMinute = { minute: Number.NaN, text: '' }

function shortDate(date: Date): string {
  const minute = Math.floor(date.getTime() / MINUTE_MS)
  if (minute !== lastMinute.minute) {
    Object.assign(lastMinute, { minute, text: date.toISOString().slice(0, 16).replace('T', ' ') })
  }
  return lastMinute.text
}

/** What `show` tells of a message. */
export interface ShownMessage {
  readonly entry: QuarantineEntry
  /** Header block of the original as it stands, or what there is of it up to a limit. */
  readonly header: string
  readonly displayed: DisplayedMessage
}

/** Everything about one message for a terminal, ending in a line end. */
export function showText({ entry, header, displayed }: ShownMessage): string {
  const { client, mailFrom, peer } = entry.envelope
  return [
    `Id:        ${entry.id}`,
    `Category:  ${entry.category}`,
    `Stored:    ${entry.storedAt.toISOString()}`,
    `Size:      ${entry.sizeBytes} bytes`,
    `Client:    ${escapeControls(clientText(client))}`,
    `Handed by: ${escapeControls(`${peer.address ?? 'unix socket'} (${peer.helo})`)}`,
    `Sender:    <${escapeControls(mailFrom)}>`,
    'Recipients:',
    ...entry.outcomes.map(outcomeText),
    ...section('Released', entry.releases.map(releaseText)),
    ...section('Header of the original', [indent(header.trimEnd())]),
    ...section('Text', displayed.text === '' ? [] : [indent(displayed.text.trimEnd())]),
    ...section('Attachments', attachmentLines(displayed)),
    ...(displayed.truncated ? ['', 'There is more than is shown: see --raw.'] : []),
    '',
  ].join('\n')
}

/** The attachments alone, one a line; '' where there are none. */
export function attachmentsText(displayed: DisplayedMessage): string {
  return attachmentLines(displayed)
    .map((line) => `${line.trimStart()}\n`)
    .join('')
}

function attachmentLines({ attachments }: DisplayedMessage): string[] {
  return attachments.map(
    ({ name = '(no name)', type, sizeBytes }) =>
      `  ${escapeControls(name)} (${escapeControls(type)}, ${sizeBytes} bytes)`,
  )
}

function releaseText({ at, by, to, as }: Release): string {
  const whom = to.map((address) => `<${escapeControls(address)}>`).join(', ')
  return `  ${at.toISOString()} by ${escapeControls(by)} to ${whom} (${as})`
}

/** What is kept in figures, ending in a line end. */
export function statsText({ files, bytes, categories, settled }: QuarantineStats): string {
  const rows = categories.map((of) => [
    of.category,
    `${of.files}`,
    formatSize(of.bytes),
    shortDate(of.oldest),
    shortDate(of.newest),
  ])
  const total = ['total', `${files}`, formatSize(bytes), '', '']
  const lines = [['CATEGORY', 'MESSAGES', 'SIZE', 'OLDEST (UTC)', 'NEWEST (UTC)'], ...rows, total].map(
    ([category = '', count = '', size = '', oldest = '', newest = '']) =>
      `${category.padEnd(10)}  ${count.padStart(8)}  ${size.padStart(9)}  ${oldest.padEnd(16)}  ${newest}`.trimEnd(),
  )
  return `${[...lines, `${settled} of them wait for nobody: released or deleted for all`].join('\n')}\n`
}

/** Three digits and a unit. */
function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)))
  const value = bytes / 1024 ** power
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power] ?? ''}`
}

/** The same for scripts: the keys of `list --json`, and what else is known. */
export function showJson({ entry, header, displayed }: ShownMessage): string {
  const { envelope, outcomes, digest, hostname, releases } = entry
  return `${visibleJson(
    {
      ...summarize(itemOf(entry)),
      digest,
      hostname,
      envelope,
      outcomes: outcomes.map(({ recipient, ...outcome }) => ({ address: recipient.address, ...outcome })),
      releases,
      header,
      message: displayed,
    },
    2,
  )}\n`
}

/** One line for one recipient of a release. */
export function resultText(result: DeliveryResult): string {
  return `<${escapeControls(result.recipient.address)}>: ${escapeControls(replyText(result))}`
}

function replyText(result: DeliveryResult): string {
  switch (result.outcome) {
    case 'relayed':
      return `released, ${result.line}`
    case 'refused':
      return `refused at ${result.stage}, ${result.line}`
    case 'failed':
      return `failed, ${result.error.message}`
    case 'withheld':
      return 'not sent'
  }
}

function clientText({ address, name, helo, queueId }: QuarantineEntry['envelope']['client']): string {
  const known = [name, address && `[${address}]`, helo && `helo ${helo}`, queueId && `queue id ${queueId}`]
  return known.filter((part) => part !== undefined && part !== '').join(', ') || 'unknown'
}

function outcomeText({ recipient, category, destiny, score, reason, state }: QuarantineOutcome): string {
  const points = score === undefined ? '' : `, score ${formatScore(score)}`
  const why = reason === '' || reason === category ? '' : `, ${escapeControls(reason)}`
  const now = state === undefined || state === 'kept' ? '' : `, ${state}`
  return `  <${escapeControls(recipient.address)}>: ${destiny}, ${category}${points}${why}${now}`
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', `${title}:`, ...lines]
}

function indent(text: string): string {
  return `  ${visibleLines(text).replaceAll('\n', '\n  ')}`
}
