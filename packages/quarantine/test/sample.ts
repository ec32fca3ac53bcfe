import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  DEFAULT_POLICY,
  decide,
  type Assessment,
  type Decision,
  type Envelope,
  type MarkContext,
  type Message,
  type Policy,
} from '@ecluse/core'
import { quarantineRecord, type QuarantineRecord } from '../src/record.ts'

export const ID = 'Abc-123_xyZ9'

export const POLICY: Policy = { ...DEFAULT_POLICY, subjectTag: '' }

export const SPAM: Assessment = {
  viruses: [],
  unchecked: [],
  virusStatus: 'clean',
  scores: [12.5, 4.25],
  virusPoints: 0,
  symbols: [
    { name: 'BAYES_99', score: 12.5 },
    { name: 'URIBL_BLACK', score: 4.25 },
  ],
  mustDefer: false,
}

export const VIRUS: Assessment = {
  viruses: ['Eicar-Test-Signature', 'Win.Trojan-1'],
  unchecked: [],
  virusStatus: 'infected',
  scores: [],
  virusPoints: 0,
  symbols: [],
  mustDefer: false,
}

export function envelope(overrides: Partial<Envelope> = {}): Envelope {
  return {
    protocol: 'lmtp',
    mailFrom: 'sender@example.net',
    recipients: [{ address: 'anna@example.org' }, { address: 'bob@example.org' }],
    smtpUtf8: false,
    client: { address: '192.0.2.7', queueId: '4F5A2C' },
    peer: { address: '127.0.0.1', helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
    ...overrides,
  }
}

export interface SampleOptions {
  readonly id?: string
  readonly envelope?: Envelope
  readonly assessment?: Assessment
  readonly storedAt?: Date
  /** Policies in the order of the recipients; for the others {@link POLICY}. */
  readonly policies?: readonly Policy[]
}

export function record(options: SampleOptions = {}): QuarantineRecord {
  const {
    id = ID,
    assessment = SPAM,
    policies = [],
    storedAt = new Date('2026-11-24T08:00:00.123Z'),
  } = options
  const chosen = options.envelope ?? envelope()
  const context: MarkContext = {
    id,
    hostname: 'filter.example.org',
    envelope: chosen,
    date: storedAt,
    alertHeader: 'X-Ecluse-Alert',
    recipientDelimiter: '',
  }
  const decisions: Decision[] = chosen.recipients.map((recipient, index) =>
    decide(recipient, { policy: policies[index] ?? POLICY, local: true }, assessment),
  )
  return quarantineRecord(context, decisions)
}

/** In memory; `stream`: as if it were in the spool's file. */
export function message(content: string | Buffer, options: { id?: string; stream?: boolean } = {}): Message {
  const bytes = Buffer.from(content)
  const end = bytes.indexOf('\r\n\r\n')
  return {
    id: options.id ?? ID,
    sizeBytes: bytes.length,
    digest: createHash('sha256').update(bytes).digest('hex'),
    ...(options.stream === true ? {} : { bytes }),
    header: end === -1 ? bytes : bytes.subarray(0, end + 4),
    open: () => Readable.from([bytes], { objectMode: false }),
  }
}
