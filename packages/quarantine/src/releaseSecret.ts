import { createHmac, timingSafeEqual } from 'node:crypto'

/** What a link in a notice lets its reader do: release one message to one recipient. */
export interface Releasable {
  readonly id: string
  /** The address as the envelope has it. */
  readonly recipient: string
}

/**
 * Who has it may release that message to that recipient, and do nothing else: HMAC-SHA-256 (RFC 2104) over both, 43
 * characters of base64url. It is stored nowhere; a new key makes all of them void.
 *
 * @param key `quarantine.secret`
 */
export function releaseSecret(key: string, { id, recipient }: Releasable): string {
  // The id has no NUL: no other pair makes the same text.
  return createHmac('sha256', key).update(`release\0${id}\0${recipient}`).digest('base64url')
}

const LENGTH = 43

/** Whether it is that secret; the time that it takes tells nothing of it. Anything may be given, of any length. */
export function isReleaseSecret(key: string, given: string, about: Releasable): boolean {
  if (given.length !== LENGTH) return false
  const [expected, offered] = [Buffer.from(releaseSecret(key, about)), Buffer.from(given)]
  return offered.length === expected.length && timingSafeEqual(offered, expected)
}
