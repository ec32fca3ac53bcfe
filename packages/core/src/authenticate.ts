import type { Authenticated, Finding } from './verdict.ts'

/** Whom a message claims to come from. Addresses as in the envelope. */
export interface ClaimedSenders {
  /** Envelope sender; '' is the null sender, and proves nothing. */
  readonly mailFrom: string
  /** The one address in From; absent: there is none, it cannot be read, or there are several. */
  readonly author?: string
}

// RFC 5321 section 4.1.2, Dot-string and Domain, or UTF-8 as RFC 6531 has it. No quoted string and no address literal,
// and no byte that is not UTF-8: a scanner may read them otherwise, and then it has proved another address.
const PLAIN_LOCAL_PART = /^[\w!#$%&'*+/=?^`{|}~\u0080-\uffff-]+(?:\.[\w!#$%&'*+/=?^`{|}~\u0080-\uffff-]+)*$/
const DOMAIN = /^[\w\u0080-\uffff-]+(?:\.[\w\u0080-\uffff-]+)*$/
const SURROGATE = /\p{Surrogate}/u
/** RFC 1035 section 2.3.4. */
const MAX_DOMAIN_LENGTH = 255

/**
 * A domain as it is compared: A to Z in lower case, no dot at the end. Absent: not a name. A-labels and U-labels are
 * not converted, nor is any letter beyond ASCII changed: they are equal only where they are written alike.
 */
export function comparableDomain(text: string): string | undefined {
  const name = text.endsWith('.') ? text.slice(0, -1) : text
  if (name.length > MAX_DOMAIN_LENGTH || !DOMAIN.test(name) || SURROGATE.test(name)) return undefined
  // Not toLowerCase: that makes a k of U+212A, which is another name.
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/**
 * Whether the findings prove the domain of `address`: that its domain let the message out, not who wrote it. True
 * where one of these holds:
 *
 * - DKIM: the signing domain is the domain of the address, or above it with at least two labels. Never below it:
 *   whoever has a subdomain does not speak for its parent (RFC 6376 section 3.10 has the same for `i=`).
 * - SPF: the domain of the address is the one checked, the envelope sender's (RFC 7208 section 2.4).
 * - DMARC: it is the one of the single author (RFC 7489 section 6.6.1); several authors, or none, prove nothing.
 *
 * Domains are equal, not alike: without a public suffix list there is no "relaxed" alignment (RFC 7489 section 3.1).
 *
 * @param address as in the envelope; quoted local parts, address literals and no domain at all are never proved
 */
export function authenticates(
  findings: readonly Finding[],
  address: string,
  claimed: ClaimedSenders,
): boolean {
  const domain = domainOf(address)
  if (domain === undefined) return false
  const mailFrom = domainOf(claimed.mailFrom)
  const author = claimed.author === undefined ? undefined : domainOf(claimed.author)
  return findings.some(
    (finding) => finding.kind === 'authenticated' && proves(finding, domain, { mailFrom, author }),
  )
}

interface ClaimedDomains {
  readonly mailFrom: string | undefined
  readonly author: string | undefined
}

function proves({ method, identity }: Authenticated, domain: string, claimed: ClaimedDomains): boolean {
  if (method === 'dmarc' && claimed.author !== domain) return false
  if (identity === 'mail-from') return claimed.mailFrom === domain
  if (identity === 'from') return claimed.author === domain
  const proved = comparableDomain(identity.domain)
  if (proved === undefined) return false
  return domain === proved || (method === 'dkim' && proved.includes('.') && domain.endsWith(`.${proved}`))
}

function domainOf(address: string): string | undefined {
  const at = address.lastIndexOf('@')
  const localPart = address.slice(0, Math.max(at, 0))
  if (!PLAIN_LOCAL_PART.test(localPart) || SURROGATE.test(localPart)) return undefined
  return comparableDomain(address.slice(at + 1))
}
