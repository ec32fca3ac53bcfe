import {
  FilterError,
  formatAddress,
  parseAddress,
  type Client,
  type Config,
  type Envelope,
  type ListenConfig,
  type Recipient,
} from '@ecluse/core'
import { headerField, readAddresses, readPath } from '@ecluse/mail'
import type { FileMessage } from './messageFile.ts'
import type { ExplainRequest } from './request.ts'

/** Where a part of the envelope comes from. */
interface Source {
  /** `--sender`, `quarantine file`, `Return-Path`, … */
  readonly from: string
  /** Whether it is a guess: the message says so, and nobody knows. */
  readonly guess: boolean
}

/** The envelope that a message is explained with. */
export interface ExplainedEnvelope {
  readonly envelope: Envelope
  readonly senderSource: Source
  readonly recipientSource: Source
  readonly clientSource: Source
}

const QUARANTINE: Source = { from: 'quarantine file', guess: false }

/** Where a recipient may be told, the surest first: Postfix's local(8), amavisd's quarantine, the sender. */
const RECIPIENT_FIELDS = ['X-Original-To', 'Delivered-To', 'X-Envelope-To', 'To'] as const
const SENDER_FIELDS = ['Return-Path', 'X-Envelope-From'] as const

/**
 * The envelope: what was asked for, else what the quarantine knows, else a guess from the header.
 *
 * @throws FilterError E_USAGE for a listener that there is not, or when there is no recipient at all, or too many
 */
export function envelopeFor(
  request: ExplainRequest,
  { message, entry }: Pick<FileMessage, 'message' | 'entry'>,
  config: Pick<Config, 'listen' | 'hostname' | 'limits'>,
): ExplainedEnvelope {
  const kept = entry?.envelope
  const [sender, senderSource] = senderOf(request, kept, message.header)
  const [recipients, recipientSource] = recipientsOf(request, kept, message.header)
  const most = config.limits.recipients
  if (recipients.length > most) {
    throw new FilterError(
      'E_USAGE',
      `explain: ${recipients.length} recipients, limits.recipients is ${most}`,
      {
        hint: 'the listener takes no more at once: name some of them with --rcpt',
      },
    )
  }
  const listen = listenerFor(request.listener, config.listen)
  const entrance =
    kept && request.listener === undefined
      ? { protocol: kept.protocol, listener: kept.listener, peer: kept.peer }
      : entranceAt(listen, config.hostname)
  const { client, source: clientSource } = clientOf(request, kept)
  return {
    envelope: {
      ...kept,
      ...entrance,
      mailFrom: sender,
      recipients,
      client,
      smtpUtf8: request.smtpUtf8 || kept?.smtpUtf8 === true,
    },
    senderSource,
    recipientSource,
    clientSource,
  }
}

function senderOf(request: ExplainRequest, kept: Envelope | undefined, header: Buffer): [string, Source] {
  if (request.sender !== undefined) return [request.sender, { from: '--sender', guess: false }]
  if (kept) return [kept.mailFrom, QUARANTINE]
  for (const field of SENDER_FIELDS) {
    const value = headerField(header, field)
    const address = value === undefined ? undefined : readPath(value)
    if (address !== undefined) return [address, { from: field, guess: true }]
  }
  const [author] = readAddresses(header, 'From')
  if (author !== undefined) return [author, { from: 'From', guess: true }]
  return ['', { from: 'nothing', guess: true }]
}

function recipientsOf(
  request: ExplainRequest,
  kept: Envelope | undefined,
  header: Buffer,
): [readonly Recipient[], Source] {
  if (request.recipients.length > 0) {
    const known = (address: string): Recipient =>
      kept?.recipients.find((recipient) => recipient.address === address) ?? { address }
    // A new object for each: recipients are told apart by identity.
    return [request.recipients.map((address) => ({ ...known(address) })), { from: '--rcpt', guess: false }]
  }
  if (kept) return [kept.recipients, QUARANTINE]
  for (const field of RECIPIENT_FIELDS) {
    const addresses = addressesIn(header, field)
    if (addresses.length === 0) continue
    return [addresses.map((address) => ({ address })), { from: field, guess: true }]
  }
  throw new FilterError('E_USAGE', 'explain: nothing says who the recipients are', {
    hint: 'name them: --rcpt user@example.org',
  })
}

function addressesIn(header: Buffer, field: string): string[] {
  const listed = readAddresses(header, field)
  if (listed.length > 0) return [...new Set(listed)]
  const value = headerField(header, field)
  const single = value === undefined ? undefined : readPath(value)
  return single === undefined || single === '' ? [] : [single]
}

function clientOf(request: ExplainRequest, kept: Envelope | undefined): { client: Client; source: Source } {
  const { client: address, helo } = request
  const said = { ...(address !== undefined && { address }), ...(helo !== undefined && { helo }) }
  if (address !== undefined) {
    // Name and port were those of another one.
    return { client: said, source: { from: '--client', guess: false } }
  }
  if (kept) return { client: { ...kept.client, ...said }, source: QUARANTINE }
  return { client: said, source: { from: 'nothing', guess: false } }
}

/** @throws FilterError E_USAGE */
function listenerFor(wanted: string | undefined, listen: readonly ListenConfig[]): ListenConfig {
  const found = listen.find(
    ({ address }) => wanted === undefined || formatAddress(address) === normal(wanted),
  )
  if (found) return found
  const known = listen.map(({ address }) => formatAddress(address)).join(', ')
  throw new FilterError(
    'E_USAGE',
    `explain: --listener: ${JSON.stringify(wanted?.slice(0, 80))} is no address of listen`,
    {
      hint: `there are: ${known}`,
    },
  )
}

function normal(text: string): string {
  try {
    return formatAddress(parseAddress(text))
  } catch (error) {
    if (error instanceof FilterError) return text
    throw error
  }
}

/** As Postfix on this host would come in. */
function entranceAt(
  { protocol, address }: ListenConfig,
  hostname: string,
): Pick<Envelope, 'protocol' | 'listener' | 'peer'> {
  const peer = 'path' in address ? { helo: hostname } : { address: '127.0.0.1', helo: hostname }
  return { protocol, listener: formatAddress(address), peer }
}
