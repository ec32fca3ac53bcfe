/** Contents categories, worst first: a message is filed under the first one that applies (amavisd's CC_*). */
export const CATEGORIES = [
  'virus',
  'banned',
  'unchecked',
  'spam',
  'spammy',
  'bad-header',
  'oversized',
  'clean',
] as const
export type Category = (typeof CATEGORIES)[number]

/** One rule that a spam scanner matched. */
export interface SpamSymbol {
  /** Printable ASCII without blank, comma, `[`, `]` or `=`: adapters make it so. */
  readonly name: string
  /** Spam points, may be negative. */
  readonly score: number
}

/** Why content could not be looked at. Short, fixed words: they stand in a header field. */
export type UncheckedReason = 'encrypted' | 'too large' | 'scanner failed' | 'limits exceeded'

/** How the network proved a domain: RFC 6376, RFC 7208, RFC 7489. */
export type AuthenticationMethod = 'dkim' | 'spf' | 'dmarc'

/**
 * A check that passed, and whose domain it proves. Only what passed is a finding: without one, nothing is known. It
 * depends on client and envelope too: the same bytes from elsewhere are not proved by it.
 */
export interface Authenticated {
  readonly kind: 'authenticated'
  readonly method: AuthenticationMethod
  /**
   * The domain of the envelope sender, the domain of the From field, or the one that is named, in the form that
   * `comparableDomain` gives.
   */
  readonly identity: 'mail-from' | 'from' | { readonly domain: string }
}

/** One thing that a scanner found. Who sent the message changes no category: only a policy may use it. */
export type Finding =
  | Authenticated
  | {
      readonly kind: 'virus'
      /** Printable ASCII, at most 200 characters: adapters make it so. */
      readonly name: string
    }
  | { readonly kind: 'unchecked'; readonly reason: UncheckedReason }
  | {
      readonly kind: 'score'
      readonly points: number
      /** The scanner's own threshold, where it told one. */
      readonly required?: number
      readonly symbols: readonly SpamSymbol[]
    }

/** What one scanner says about one message, whole. Nothing but `authenticated` findings, or none: clean. */
export interface Verdict {
  readonly findings: readonly Finding[]
}

/** The whole message was looked at, and nothing found. */
export const CLEAN: Verdict = { findings: [] }

/** Whether all of the message was looked at: only such a verdict is remembered. */
export function isComplete({ findings }: Verdict): boolean {
  return findings.every(({ kind }) => kind !== 'unchecked')
}

/** Makes a name from a scanner fit for header, log, reply and terminal: printable ASCII, no blanks at the ends, bounded. */
export function printable(text: string, maxLength = 200): string {
  const safe = text.replace(/[^\x20-\x7e]/g, '?').trim()
  return safe.length > maxLength ? safe.slice(0, maxLength) : safe
}
