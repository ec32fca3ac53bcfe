import { createHash } from 'node:crypto'
import type { Envelope, Recipient } from '@ecluse/core'

const KEY_HEX_DIGITS = 32

/**
 * The key of a message in the ledger: 32 hex digits, 128 bits of SHA-256 over Postfix's queue id (XFORWARD IDENT), the
 * LHLO name of the Postfix that speaks to us, the reverse-path and the digest of the bytes. A queue id alone is used
 * again, and two machines may use the same; the digest tells messages apart, so that nothing new ever passes for old.
 *
 * @param digest as in Message: hex SHA-256
 * @returns absent without a queue id: then nobody can know that the message comes again
 */
export function ledgerKey(envelope: Envelope, digest: string): string | undefined {
  const { queueId } = envelope.client
  if (queueId === undefined) return undefined
  // JSON keeps the fields apart, and also bytes that are not UTF-8 (lone surrogates), which all look alike as UTF-8.
  const fields = JSON.stringify([queueId, envelope.peer.helo, envelope.mailFrom, digest])
  return createHash('sha256').update(fields).digest('hex').slice(0, KEY_HEX_DIGITS)
}

/**
 * The keys of the recipients inside a message, in the order given: occurrence, address and, where there is one, ORCPT,
 * such as `1 anna@example.org rfc822;info@example.org`.
 *
 * Postfix may name the same address twice and wants two deliveries. It tells them apart by ORCPT, and may bring one of
 * them alone; where both are the same, the second has the number 2.
 */
export function recipientKeys(recipients: readonly Recipient[]): string[] {
  const seen = new Map<string, number>()
  return recipients.map(({ address, orcpt }) => {
    // An ORCPT is xtext without a blank (RFC 3461 section 4): what stands behind the last one.
    const name = orcpt === undefined ? address : `${address} ${orcpt}`
    const occurrence = (seen.get(name) ?? 0) + 1
    seen.set(name, occurrence)
    return `${occurrence} ${name}`
  })
}
