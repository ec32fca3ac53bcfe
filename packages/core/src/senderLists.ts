import { addressIndexInSteps, type AddressIndex } from './addressIndex.ts'
import type { AddressList, AddressMatch } from './addressList.ts'
import type { ListEntry } from './listEntry.ts'
import type { LookupKeys } from './lookupKeys.ts'
import type { PatternPool } from './pattern.ts'
import type { Steps } from './steps.ts'
import { authenticates } from './authenticate.ts'
import type { Finding, SpamSymbol } from './verdict.ts'

export const LIST_ACTIONS = ['allow', 'block'] as const

/** One entry of `senders`. Either `action` or `score` is there. */
export interface SenderRule {
  readonly action?: (typeof LIST_ACTIONS)[number]
  /** Points that are added. */
  readonly score?: number
  readonly senders: readonly ListEntry[]
  /** Absent: for all. */
  readonly recipients?: AddressList
  /** Whether an allowed sender needs no proof that it is the sender. */
  readonly unauthenticated: boolean
}

/** Who sent a message. */
export interface SenderFacts {
  /** The envelope's; '' is the null sender. */
  readonly mailFrom: string
  /** Addresses of From:, as received; empty: there is none, or none that can be read. */
  readonly authors: readonly string[]
}

/** One entry that fits. */
export interface SenderMatch {
  /** Its number in `senders`. */
  readonly rule: number
  /** Which address of the message it was. */
  readonly address: string
  readonly identity: 'mail-from' | 'from'
  readonly match: AddressMatch
  /** The entry of its `recipients`; absent: it is for all. */
  readonly recipient?: AddressMatch
  /** Whether it counts: an allowed sender must be authenticated. */
  readonly counts: boolean
}

/** What the lists say of the sender to one recipient. */
export interface SenderStanding {
  /** By the last rule that allows or blocks. */
  readonly listed?: 'allowed' | 'blocked'
  /** The sum of all that score. */
  readonly points: number
  /** Of every rule that fits, in their order; empty: none. */
  readonly matches: readonly SenderMatch[]
}

export const NOT_LISTED: SenderStanding = { points: 0, matches: [] }

/** The points of the lists as a rule among others; amavisd's name for it. */
export function listSymbol({ points }: SenderStanding): SpamSymbol {
  return { name: 'AM.WBL', score: points }
}

/** The standing of one message's sender, for each recipient. */
export type MailSender = (recipient: LookupKeys, proofs: readonly Finding[]) => SenderStanding

/** The lists of senders, together. */
export class SenderLists {
  readonly #rules: readonly SenderRule[]
  readonly #bySender: AddressIndex

  private constructor(rules: readonly SenderRule[], bySender: AddressIndex) {
    this.#rules = rules
    this.#bySender = bySender
  }

  /**
   * @param patterns those of all lists together
   * @throws FilterError E_CONFIG for an entry that cannot be read
   */
  static *compile(rules: readonly SenderRule[], patterns: PatternPool): Steps<SenderLists> {
    const lists = rules.map(({ senders }) => senders)
    return new SenderLists(rules, yield* addressIndexInSteps(lists, { patterns }))
  }

  /** Whether there is nothing to look up. */
  get empty(): boolean {
    return this.#rules.length === 0
  }

  get rules(): readonly SenderRule[] {
    return this.#rules
  }

  /**
   * @param lookup makes the question from an address
   */
  forMail(facts: SenderFacts, lookup: (address: string) => LookupKeys): MailSender {
    const hits = this.#hitsOf(facts, lookup)
    if (hits.length === 0) return () => NOT_LISTED
    // Several authors could be one friend among strangers: then From: proves nothing.
    const author = facts.authors.length === 1 ? facts.authors[0] : undefined
    const identities = { mailFrom: facts.mailFrom, ...(author !== undefined && { author }) }
    return (recipient, proofs) => {
      const matches = hits.flatMap(({ rule, ...hit }): SenderMatch[] => {
        const { action, recipients, unauthenticated } = this.#rules[rule] as SenderRule // it comes from the index
        const found = recipients?.match(recipient)
        if (recipients && found?.negated !== false) return []
        const counts = action !== 'allow' || unauthenticated || authenticates(proofs, hit.address, identities)
        return [{ ...hit, rule, ...(found && { recipient: found }), counts }]
      })
      return matches.length === 0 ? NOT_LISTED : this.#standing(matches)
    }
  }

  #hitsOf(
    { mailFrom, authors }: SenderFacts,
    lookup: (address: string) => LookupKeys,
  ): Omit<SenderMatch, 'recipient' | 'counts'>[] {
    if (this.empty) return []
    const addresses = [
      { address: mailFrom, identity: 'mail-from' as const },
      ...authors
        .filter((author) => author !== mailFrom)
        .map((address) => ({ address, identity: 'from' as const })),
    ]
    return addresses
      .flatMap(({ address, identity }) =>
        this.#bySender.find(lookup(address)).map(({ list: rule, entry, key }) => ({
          rule,
          address,
          identity,
          match: { entry, key, negated: false },
        })),
      )
      .toSorted((a, b) => a.rule - b.rule)
  }

  #standing(matches: readonly SenderMatch[]): SenderStanding {
    let listed: SenderStanding['listed']
    let points = 0
    let scored = -1
    for (const { rule, counts } of matches) {
      const { action, score } = this.#rules[rule] ?? {}
      if (action && counts) listed = action === 'allow' ? 'allowed' : 'blocked'
      // Envelope and From: may both fit one rule: its points are given once.
      if (score !== undefined && rule !== scored) {
        points += score
        scored = rule
      }
    }
    return { ...(listed && { listed }), points, matches }
  }
}
