import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Category, Destiny } from '@ecluse/core'
import type { NoticeTemplates, NoticeTextKind } from './noticeTemplates.ts'
import { NOTICE_WORDS, type NoticeWords } from './noticeWords.ts'
import type { OutgoingMessage } from './outgoing.ts'
import { plainLine } from './plainLine.ts'
import { escapeHtml, type Template, type TemplateValues } from './template.ts'

/** A message that a notice tells of. Every string of it may be hostile. */
export interface NoticeMessage {
  readonly id: string
  /** Id in the quarantine; absent: no copy is kept. */
  readonly kept?: string
  /** A URL of ours where the recipient may release it; absent: there is none. */
  readonly release?: string
  readonly date: Date
  readonly mailFrom: string
  /** Decoded; absent: it has none. */
  readonly subject?: string
  /** Address of the client; absent: not known. */
  readonly client?: string
  readonly queueId?: string
  readonly sizeBytes: number
  /** Names; empty: none were found. */
  readonly viruses: readonly string[]
  /** At least one. */
  readonly recipients: readonly {
    readonly address: string
    readonly category: Category
    readonly destiny: Destiny
  }[]
}

/** Who writes notices. */
export interface NoticeSender {
  readonly hostname: string
  /** Address in From:, and whom to ask. */
  readonly from: string
  readonly templates: NoticeTemplates
}

/** One notice to write. */
export interface NoticeRequest {
  readonly kind: Exclude<NoticeTextKind, 'dsn'>
  /** A plain address. */
  readonly to: string
  readonly date: Date
  /** Local part of the Message-ID: atoms of RFC 5322. */
  readonly id: string
  /** At least one; those above {@link NOTICE_MESSAGES} are counted only. */
  readonly messages: readonly NoticeMessage[]
  /** How many more there are, of which nothing is known any more. */
  readonly more?: number
}

/** A notice, ready to be sent. */
export interface ComposedNotice extends OutgoingMessage {
  /** All of it, CRLF at the end of each line. */
  readonly bytes: Buffer
  /** Whether it can only be sent with SMTPUTF8 (RFC 6531). */
  readonly smtpUtf8: boolean
}

/** How many messages one notice shows at most. */
export const NOTICE_MESSAGES = 50
const MAX_RECIPIENTS = 20
const MAX_VIRUSES = 10
const MAX_SUBJECT_PART = 80

/**
 * Writes a notice as multipart/alternative: plain text, and the same in simple HTML. It says that a program wrote it
 * (RFC 3834), so that nothing answers it; it is for the null sender.
 */
export async function composeNotice(sender: NoticeSender, request: NoticeRequest): Promise<ComposedNotice> {
  const { kind, to, date, id } = request
  const { subject, text, html } = sender.templates.kinds[kind]
  const values = noticeValues(sender, request)
  // Loaded when somebody is told: the filter itself needs none of it.
  const { default: MailComposer } = await import('nodemailer/lib/mail-composer')
  const composer = new MailComposer({
    ...noticeHeader(sender, { to, date, id, submitted: 'auto-generated' }),
    subject: noticeSubject(subject, values),
    text: withoutGaps(text.render(values, asIs)),
    ...(html && { html: html.render(values, escapeHtml) }),
    textEncoding: 'Q',
    // Nothing of it names a file or an address to fetch, whatever stands in it.
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return composed(await composer.compile().build(), to)
}

const asIs = (text: string): string => text

/**
 * The subject of a notice. What a stranger wrote must not be read as an encoded word (RFC 2047 section 2): it could hide
 * line ends that every check of plain text passes over.
 */
export function noticeSubject(template: Template, values: TemplateValues): string {
  return plainLine(template.render(values, asIs), 200).replaceAll('=?', '= ?')
}

/** Sections that are left out leave empty lines. */
function withoutGaps(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(/\n{3,}/g, '\n\n')
}

/** What all notices have in their header. */
export function noticeHeader(
  { hostname, from, templates }: NoticeSender,
  { to, date, id, submitted }: { to: string; date: Date; id: string; submitted: string },
) {
  const baseBoundary = createHash('sha256').update(id).digest('hex').slice(0, 24)
  return {
    to: { name: '', address: to },
    headers: {
      'Auto-Submitted': submitted,
      'Content-Language': templates.language,
    },
    from: { name: `Écluse (${hostname})`, address: from },
    date,
    messageId: `<${id}@${hostname}>`,
    baseBoundary,
    newline: 'windows',
  }
}

/** Bytes that are not ASCII stand in addresses of the header alone, and only where these have them. */
export function composed(bytes: Buffer, to: string): ComposedNotice {
  // oxlint-disable-next-line no-control-regex -- all of ASCII
  const smtpUtf8 = !/^[\x00-\x7f]*$/.test(to)
  return { bytes, sizeBytes: bytes.length, chunks: [bytes], open: () => Readable.from([bytes]), smtpUtf8 }
}

/** What the texts are filled with. */
export function noticeValues(
  { hostname, from, templates }: NoticeSender,
  request: Pick<NoticeRequest, 'to' | 'messages' | 'more'>,
): TemplateValues {
  const words = NOTICE_WORDS[templates.language]
  const { to, messages, more = 0 } = request
  const shown = messages.slice(0, NOTICE_MESSAGES)
  const left = messages.length - shown.length + more
  const [first] = messages
  const linked = shown.some(({ release }) => release !== undefined)
  return {
    hostname,
    contact: from,
    to: plainLine(to),
    count: String(messages.length + more),
    more: left === 0 ? '' : String(left),
    links: linked ? 'links' : '',
    noLinks: linked ? '' : 'no links',
    viruses: virusText([...new Set(messages.flatMap(({ viruses }) => viruses))]),
    subject: plainLine(first?.subject ?? words.noSubject, MAX_SUBJECT_PART),
    items: shown.map((message) => messageValues(message, words)),
  }
}

function messageValues(message: NoticeMessage, words: NoticeWords): TemplateValues {
  const { id, kept, release, date, mailFrom, subject, client, queueId, sizeBytes, viruses, recipients } =
    message
  const [first] = recipients
  return {
    id,
    kept: kept ?? '',
    release: release ?? '',
    date: date.toISOString().replace('T', ' ').replace(/\..*$/, ' UTC'),
    from: plainLine(mailFrom),
    subject: plainLine(subject ?? words.noSubject),
    client: plainLine(client ?? words.unknown),
    queueId: plainLine(queueId ?? words.unknown),
    viruses: virusText(viruses),
    size: `${Math.ceil(sizeBytes / 1024)} ${words.kibibytes}`,
    category: first ? words.categories[first.category] : '',
    reason: first ? words.categories[first.category] : '',
    recipients: [
      ...recipients.slice(0, MAX_RECIPIENTS).map(({ address, category, destiny }) => ({
        address: plainLine(address),
        category: words.categories[category],
        reason: `${words.categories[category]}, ${words.destinies[destiny]}`,
      })),
      ...(recipients.length > MAX_RECIPIENTS
        ? [{ address: '…', category: '', reason: `+ ${recipients.length - MAX_RECIPIENTS}` }]
        : []),
    ],
  }
}

function virusText(viruses: readonly string[]): string {
  const shown = viruses.slice(0, MAX_VIRUSES).map((name) => plainLine(name, MAX_SUBJECT_PART))
  return [...shown, ...(viruses.length > MAX_VIRUSES ? ['…'] : [])].join(', ')
}
