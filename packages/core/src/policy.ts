import type { Category } from './verdict.ts'

/** What is done with a message of some category; amavisd's final_*_destiny. */
export const DESTINIES = ['pass', 'discard', 'reject', 'tempfail'] as const
export type Destiny = (typeof DESTINIES)[number]

/** How the scores of several spam scanners become one. */
export const SCORE_RULES = ['sum', 'highest'] as const
export type ScoreRule = (typeof SCORE_RULES)[number]

/** What one recipient's site wants done. */
export interface Policy {
  /** Spam points from which a local recipient gets the spam header fields. */
  readonly tagLevel: number
  /** Spam points from which the message is 'spammy': X-Spam-Flag: YES and the subject tag. */
  readonly tag2Level: number
  /** Spam points from which the message is 'spam': its destiny applies. */
  readonly killLevel: number
  /** Put before the subject of spammy mail, for local recipients; '' for none. */
  readonly subjectTag: string
  readonly scores: ScoreRule
  readonly destiny: Readonly<Record<Exclude<Category, 'clean'>, Destiny>>
  /** Categories of which a copy is kept. */
  readonly quarantine: readonly Category[]
}

/** Finds the policy of one recipient. One for all at present; overlays for single recipients join here. */
export type PolicyLookup = (address: string) => Policy

/** Answers whether a recipient belongs to the local domains; an address without a domain is Postfix's own. */
export type LocalDomains = (address: string) => boolean

/**
 * Compiles `localDomains`: `example.net` is that domain, `.example.net` the domain and all below it.
 * Case-insensitive. A-labels and U-labels are not converted: name both where both occur.
 */
export function localDomains(entries: readonly string[]): LocalDomains {
  const exact = new Set<string>()
  const parents = new Set<string>()
  for (const entry of entries) {
    const domain = entry.toLowerCase()
    if (domain.startsWith('.')) parents.add(domain.slice(1))
    else exact.add(domain)
  }
  return (address) => {
    const at = address.lastIndexOf('@')
    if (at === -1) return true
    let domain = address.slice(at + 1).toLowerCase()
    if (exact.has(domain)) return true
    while (domain !== '') {
      if (parents.has(domain)) return true
      const dot = domain.indexOf('.')
      if (dot === -1) return false
      domain = domain.slice(dot + 1)
    }
    return false
  }
}
