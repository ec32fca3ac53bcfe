import { Readable } from 'node:stream'
import { formatDate, type Category, type Envelope, type Recipient } from '@ecluse/core'
import type { OutgoingMessage } from '@ecluse/mail'
import { isBlocked, type QuarantineEntry } from './record.ts'

/** What to hand to Postfix, or why not. */
export type ReleasePlan =
  | {
      readonly action: 'release'
      /** The original one, the recipients replaced. */
      readonly envelope: Envelope
      /** Whether somebody gets it to whom it was not sent: then it is a resend (RFC 5322 section 3.6.6). */
      readonly resent: boolean
    }
  | { readonly action: 'refuse'; readonly reason: string; readonly hint: string }

/** Who resends a message. */
export interface Resender {
  readonly id: string
  readonly hostname: string
  readonly date: Date
}

const DANGEROUS: readonly Category[] = ['virus', 'banned']
// RFC 5321 section 4.5.3.1.3: a path has at most 256 octets.
const MAX_ADDRESS = 254
const MAX_RECIPIENTS = 1000

/**
 * Plans a release; pure. Without `to` it goes to the blocked recipients, each address once: those that were passed have it
 * already, and with those that were deferred Postfix comes again by itself. `force` is needed for viruses and banned files.
 */
export function releasePlan(
  entry: QuarantineEntry,
  options: { readonly to?: readonly string[]; readonly force?: boolean } = {},
): ReleasePlan {
  const { envelope, outcomes } = entry
  const { to = [], force = false } = options
  const danger = outcomes.find(({ category }) => DANGEROUS.includes(category))
  if (danger !== undefined && !force) {
    return { action: 'refuse', reason: danger.reason, hint: 'use --force to deliver it all the same' }
  }
  const bad = to.find((address) => !isAddress(address))
  if (bad !== undefined) {
    return { action: 'refuse', reason: `${JSON.stringify(bad)}: not an address`, hint: 'user@example.org' }
  }
  const blocked = outcomes.filter(isBlocked).map(({ recipient }) => recipient)
  const known = new Map(envelope.recipients.map((recipient) => [recipient.address, recipient]))
  const chosen = to.length > 0 ? to.map((address) => known.get(address) ?? { address }) : blocked
  const recipients = [...new Map(chosen.map((recipient) => [recipient.address, recipient])).values()]
  if (recipients.length === 0) {
    const waiting = outcomes.some(({ destiny }) => destiny === 'tempfail') ? ', or Postfix tries again' : ''
    const reason = `every recipient got this message${waiting}`
    return { action: 'refuse', reason, hint: 'name recipients with --to' }
  }
  if (recipients.length > MAX_RECIPIENTS) {
    return { action: 'refuse', reason: 'too many recipients', hint: `at most ${MAX_RECIPIENTS} at a time` }
  }
  const resent = recipients.some(({ address }) => !known.has(address))
  return { action: 'release', envelope: { ...envelope, recipients }, resent }
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

/** The message with fields above it; '' for none: then it is the same bytes. */
export function withFields(message: OutgoingMessage, fields: string): OutgoingMessage {
  if (fields === '') return message
  const first = Buffer.from(fields)
  return {
    sizeBytes: first.length + message.sizeBytes,
    open: () => Readable.from(oneAfterAnother(first, message), { objectMode: false }),
  }
}

async function* oneAfterAnother(first: Buffer, message: OutgoingMessage): AsyncGenerator<Buffer> {
  yield first
  yield* message.open() as AsyncIterable<Buffer>
}

function isAddress(address: string): boolean {
  // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
  return address.length <= MAX_ADDRESS && /^[^\x00-\x20\x7f<>,;]+@[^\x00-\x20\x7f<>@,;]+$/.test(address)
}
