import type { Recipient } from './envelope.ts'
import { withoutExtension } from './lookupKeys.ts'

/**
 * The recipient with an address extension in place of the one it has: `user+ext@dom` with `spam` becomes
 * `user+spam@dom`. Senders that asked for delivery notices are told of the address they know: it becomes the ORCPT
 * where none was given (RFC 3461 section 4.2).
 *
 * @param extension without the delimiter
 * @param delimiter one character
 */
export function extendRecipient(recipient: Recipient, extension: string, delimiter: string): Recipient {
  const { address } = recipient
  const at = address.lastIndexOf('@')
  const localPart = at === -1 ? address : address.slice(0, at)
  const domain = at === -1 ? '' : address.slice(at)
  const quoted = /^"(.*)"$/s.exec(localPart)
  const user = withoutExtension(quoted?.[1] ?? localPart, delimiter)
  const extended = `${user}${delimiter}${extension}`
  const orcpt = recipient.orcpt ?? originalRecipient(address)
  return {
    ...recipient,
    address: `${quoted ? `"${extended}"` : extended}${domain}`,
    ...(orcpt !== undefined && { orcpt }),
  }
}

/** RFC 3461 section 4.2: the whole parameter value. A command line that is too long would be refused with 5xx. */
const MAX_ORCPT_LENGTH = 500

/**
 * RFC 3461 section 4: xtext. Absent for an address that is too long, or not ASCII: RFC 6533's form is not understood
 * everywhere.
 */
function originalRecipient(address: string): string | undefined {
  if (/[^\x20-\x7e]/.test(address)) return undefined
  const xtext = address.replace(
    /[^!-~]|[+=]/g,
    (char) => `+${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
  const orcpt = `rfc822;${xtext}`
  return orcpt.length > MAX_ORCPT_LENGTH ? undefined : orcpt
}
