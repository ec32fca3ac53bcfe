import { Readable } from 'node:stream'
import { formatDate, type Category, type Envelope, type Recipient } from '@ecluse/core'
import type { OutgoingMessage } from '@ecluse/mail'
import { isBlocked, type QuarantineEntry, type Release, type ReleaseForm } from './record.ts'

/** What to hand to Postfix, or why not. */
export type ReleasePlan =
  | {
      readonly action: 'release'
      /** The original one, the recipients replaced. */
      readonly envelope: Envelope
      /** As was asked for; else a resend where somebody gets it to whom it was not sent, and the very bytes where not. */
      readonly as: ReleaseForm
    }
  | { readonly action: 'refuse'; readonly reason: string; readonly hint: string }

/** What was asked for. */
export interface ReleaseWish {
  /** Absent or empty: the blocked recipients that nobody has released it to. */
  readonly to?: readonly string[]
  /** Even a virus, and even to those who have it. */
  readonly force?: boolean
  readonly as?: ReleaseForm
}

/** Who resends a message. */
export interface Resender {
  readonly id: string
  readonly hostname: string
  readonly date: Date
}

const DANGEROUS: readonly Category[] = ['virus', 'banned']

/** Whether nobody should get it without an administrator's word. */
export function isDangerous({ category }: { readonly category: Category }): boolean {
  return DANGEROUS.includes(category)
}

// RFC 5321 section 4.5.3.1.3: a path has at most 256 octets.
const MAX_ADDRESS = 254
const MAX_RECIPIENTS = 1000

/**
 * Plans a release; pure. Without `to` it goes to the blocked recipients, each address once: those that were passed have it
 * already, and with those that were deferred Postfix comes again by itself. `force` is needed for viruses and banned
 * files, and for a second release to the same address.
 */
export function releasePlan(entry: QuarantineEntry, wish: ReleaseWish = {}): ReleasePlan {
  const { to = [], force = false } = wish
  const danger = entry.outcomes.find(isDangerous)
  if (danger !== undefined && !force) return refuse(danger.reason, 'use --force to deliver it all the same')
  const bad = to.find((address) => !isAddress(address))
  if (bad !== undefined) return refuse(`${JSON.stringify(bad)}: not an address`, 'user@example.org')
  const chosen = to.length > 0 ? named(entry, to) : blockedOf(entry)
  const earlier = force ? undefined : earlierRelease(entry, chosen)
  const recipients = earlier && to.length === 0 ? withoutReleased(entry, chosen) : chosen
  if (recipients.length === 0 || (earlier && to.length > 0)) return earlier ? again(earlier) : nobody(entry)
  return planFor(entry, recipients, wish.as)
}

function planFor(
  { envelope }: QuarantineEntry,
  recipients: readonly Recipient[],
  as?: ReleaseForm,
): ReleasePlan {
  if (recipients.length > MAX_RECIPIENTS) {
    return refuse('too many recipients', `at most ${MAX_RECIPIENTS} at a time`)
  }
  const known = new Set(envelope.recipients.map(({ address }) => address))
  const isNew = recipients.some(({ address }) => !known.has(address))
  return { action: 'release', envelope: { ...envelope, recipients }, as: as ?? (isNew ? 'resend' : 'plain') }
}

function refuse(reason: string, hint: string): ReleasePlan {
  return { action: 'refuse', reason, hint }
}

function nobody({ outcomes }: QuarantineEntry): ReleasePlan {
  const waiting = outcomes.some(({ destiny }) => destiny === 'tempfail') ? ', or Postfix tries again' : ''
  return refuse(`every recipient got this message${waiting}`, 'name recipients with --to')
}

function again({ at, by, to }: Release): ReleasePlan {
  const whom = `<${to[0] ?? ''}>${to.length > 1 ? ` and ${to.length - 1} more` : ''}`
  return refuse(
    `was released at ${at.toISOString()} by ${by} to ${whom}`,
    'use --force to deliver it once more, or name others with --to',
  )
}

/** Each address once, with the parameters that it came with. */
function named({ envelope }: QuarantineEntry, to: readonly string[]): Recipient[] {
  const known = new Map(envelope.recipients.map((recipient) => [recipient.address, recipient]))
  return once(to.map((address) => known.get(address) ?? { address }))
}

/** Whoever has deleted it does not want it. */
function blockedOf({ outcomes }: QuarantineEntry): Recipient[] {
  const blocked = outcomes.filter((outcome) => isBlocked(outcome) && outcome.state !== 'deleted')
  return once(blocked.map(({ recipient }) => recipient))
}

function once(recipients: readonly Recipient[]): Recipient[] {
  return [...new Map(recipients.map((recipient) => [recipient.address, recipient])).values()]
}

/** The last release to one of them. */
function earlierRelease({ releases }: QuarantineEntry, to: readonly Recipient[]): Release | undefined {
  const addresses = new Set(to.map(({ address }) => address))
  return releases.findLast((release) => release.to.some((address) => addresses.has(address)))
}

function withoutReleased({ releases }: QuarantineEntry, recipients: readonly Recipient[]): Recipient[] {
  const had = new Set(releases.flatMap(({ to }) => to))
  return recipients.filter(({ address }) => !had.has(address))
}

/**
 * The fields that go above the original when it is resent, each line with its CRLF (RFC 5322 section 3.6.6). On top,
 * they leave DKIM signatures valid.
 */
export function resentFields(recipients: readonly Recipient[], { id, hostname, date }: Resender): string {
  const to = recipients.map(({ address }) => address).join(',\r\n ')
  return [
    `Resent-From: <postmaster@${hostname}>`,
    `Resent-To: ${to}`,
    `Resent-Date: ${formatDate(date)}`,
    `Resent-Message-ID: <${id}.${date.getTime()}@${hostname}>`,
    '',
  ].join('\r\n')
}

/** The message with fields above it; '' for none: then it is the same bytes. A string is UTF-8. */
export function withFields(message: OutgoingMessage, fields: string | Buffer): OutgoingMessage {
  if (fields.length === 0) return message
  const first = typeof fields === 'string' ? Buffer.from(fields) : fields
  return {
    sizeBytes: first.length + message.sizeBytes,
    ...(message.chunks && { chunks: [first, ...message.chunks] }),
    open: () => Readable.from(oneAfterAnother(first, message), { objectMode: false }),
  }
}

async function* oneAfterAnother(first: Buffer, message: OutgoingMessage): AsyncGenerator<Buffer> {
  yield first
  yield* message.open() as AsyncIterable<Buffer>
}

/** Whether it can be handed over, and is one address to whoever reads it. */
export function isAddress(address: string): boolean {
  // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
  return address.length <= MAX_ADDRESS && /^[^\x00-\x20\x7f<>,;]+@[^\x00-\x20\x7f<>@,;]+$/.test(address)
}
