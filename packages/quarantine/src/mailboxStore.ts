import { FilterError, type DeliveryResult, type Envelope, type Message } from '@ecluse/core'
import { headerSubject, type OutgoingMessage } from '@ecluse/mail'
import { formatFields } from './fields.ts'
import type { QuarantineRecord } from './record.ts'
import { withFields } from './release.ts'
import type { ReleaseGate } from './releaseMessage.ts'
import type { QuarantineStore, QuarantineUsage } from './store.ts'

/** Where kept messages are sent, and by which way. */
export interface MailboxStoreOptions {
  /** Who gets them: an address of our own domains. */
  readonly mailbox: string
  readonly hostname: string
  /** To the re-entry service, behind the filter; closed with the store. */
  readonly gate: ReleaseGate & { close(): Promise<void> }
}

/** Messages of which a second put is known as one. */
const MAX_KNOWN = 1000
/** Of what the next hop said, in an error. */
const MAX_SHOWN = 200
const NOTHING: QuarantineUsage = { files: 0, bytes: 0 }

/**
 * A quarantine that is a mailbox: each message that is kept goes there as one mail, whole, with the fields of the
 * quarantine above it, past the filter. It is kept when Postfix has taken it. What is in the mailbox is for its reader:
 * nothing is listed, released or deleted here. Within one process, a message that comes again under the same id is not
 * sent again.
 */
export function createMailboxStore({ mailbox, hostname, gate }: MailboxStoreOptions): QuarantineStore {
  const known = new Set<string>()
  const nothingHere = (): FilterError =>
    new FilterError(
      'E_QUARANTINE',
      `what is kept is mail in ${mailbox}: nothing is listed or released here`,
      {
        hint: 'look into that mailbox; X-Quarantine-ID has the id, X-Envelope-To who should have got it',
      },
    )
  const refuse = async (): Promise<never> => {
    throw nothingHere()
  }
  return {
    // The next hop is watched by whoever asks whether mail can be taken.
    prepare: async () => {},
    check: async () => {},
    async put(record, message, signal) {
      if (known.has(record.id)) return
      const recipient = { address: mailbox }
      const envelope = envelopeOf(record, recipient, hostname)
      const request = {
        id: record.id,
        envelope,
        recipients: [recipient],
        message: copyOf(record, message),
        allOrNothing: false,
      }
      const [result] = await gate.deliver(request, signal)
      if (result?.outcome !== 'relayed') throw notKept(record.id, mailbox, result)
      known.add(record.id)
      for (const oldest of known) {
        if (known.size <= MAX_KNOWN) break
        known.delete(oldest)
      }
    },
    // oxlint-disable-next-line require-yield -- there is nothing to list
    async *list() {
      throw nothingHere()
    },
    get: refuse,
    open: refuse,
    delete: refuse,
    markReleased: refuse,
    markInfected: refuse,
    stats: refuse,
    rebuild: refuse,
    usage: async () => NOTHING,
    expire: async () => ({ ...NOTHING, more: false }),
    // There is nothing to do alone.
    alone: async () => undefined,
    close: async () => await gate.close(),
  }
}

/** With the null sender, so that no failure is told to a stranger; NOTIFY=NEVER would hide it from the postmaster too. */
function envelopeOf(
  { envelope }: QuarantineRecord,
  recipient: Envelope['recipients'][number],
  hostname: string,
): Envelope {
  return {
    protocol: 'smtp',
    mailFrom: '',
    recipients: [recipient],
    smtpUtf8: envelope.smtpUtf8,
    body: '8BITMIME',
    client: {},
    peer: { helo: hostname },
    listener: '',
  }
}

function copyOf(record: QuarantineRecord, message: Message): OutgoingMessage {
  const { header, sizeBytes, digest, bytes } = message
  const subject = headerSubject(header)
  const fields = formatFields(record, { sizeBytes, digest, ...(subject !== undefined && { subject }) })
  return withFields({ sizeBytes, open: () => message.open(), ...(bytes && { chunks: [bytes] }) }, fields)
}

function notKept(id: string, mailbox: string, result: DeliveryResult | undefined): FilterError {
  const what = `${id}: not sent to ${mailbox}`
  if (result?.outcome === 'failed') {
    return new FilterError('E_QUARANTINE', `${what}: ${result.error.message}`, { cause: result.error })
  }
  if (result?.outcome !== 'refused') return new FilterError('E_QUARANTINE', what)
  return new FilterError('E_QUARANTINE', `${what}: ${result.line.slice(0, MAX_SHOWN)}`, {
    hint: 'the re-entry service of Postfix must take mail for quarantine.mailbox, of any size',
  })
}
