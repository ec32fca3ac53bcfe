import { headerFields } from './header.ts'

const AUTO_SUBMITTED = /^auto-submitted[ \t]*:[ \t\r\n]*(?!no\b)[a-z]/i
const PRECEDENCE = /^precedence[ \t]*:[ \t\r\n]*(?:bulk|list|junk|auto_reply)\b/i
// RFC 2919, RFC 2369; X-Loop and X-Auto-Response-Suppress are what senders without Auto-Submitted write.
const MARKED =
  /^(?:list-(?:id|post|help|unsubscribe|subscribe|owner|archive)|x-loop|x-auto-response-suppress)[ \t]*:/i

/**
 * Whether a program wrote the message, or a list sent it, so that nobody waits for an answer, and one could begin a
 * loop: Auto-Submitted (RFC 3834 section 5) other than `no`, Precedence of bulk mail, or a field of mailing lists.
 *
 * @param header as in Message
 */
export function isAutomatic(header: Buffer): boolean {
  return headerFields(header).some(
    (field) => MARKED.test(field) || PRECEDENCE.test(field) || AUTO_SUBMITTED.test(field),
  )
}
