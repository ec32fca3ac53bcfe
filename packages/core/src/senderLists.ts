import { addressIndexInSteps, type AddressIndex } from './addressIndex.ts'
import type { AddressMatch } from './addressList.ts'
import type { ListEntry } from './listEntry.ts'
import type { LookupKeys } from './lookupKeys.ts'
import type { PatternPool } from './pattern.ts'
import type { Steps } from './steps.ts'
import { authenticates } from './authenticate.ts'
import type { Finding, SpamSymbol } from './verdict.ts'

/** What a list does with its senders, where it does not score them. */
export const LIST_ACTIONS = ['allow', 'block'] as const

/** One entry of `senders`. Either `action` or `score` is there. */
export interface SenderRule {
  readonly action?: (typeof LIST_ACTIONS)[number]
  /** Points that are added. */
  readonly score?: number
  readonly senders: readonly ListEntry[]
  /** Absent: for all. */
  readonly recipients?: readonly ListEntry[]
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

/** What is known of a match before there is a recipient. */
type Hit = Omit<SenderMatch, 'recipient' | 'counts'>

/** What the lists say of the sender to one recipient. */
export interface SenderStanding {
  /** By the last rule that allows or blocks. */
  readonly listed?: 'allowed' | 'blocked'
  /** The sum of all that score. */
  readonly points: number
  /** Of every rule that fits, in their order; empty: none. */
  readonly matches: readonly SenderMatch[]
}

/** The standing of a sender that no list names. */
export const NOT_LISTED: SenderStanding = { points: 0, matches: [] }

/** The points of the lists as a rule among others; amavisd's name for it. */
export function listSymbol({ points }: SenderStanding): SpamSymbol {
  return { name: 'AM.WBL', score: points }
}

/** The standing of one message's sender, for each recipient, who is only asked for where a rule is for some. */
export type MailSender = (recipient: () => LookupKeys, proofs: readonly Finding[]) => SenderStanding

/** The lists of senders, together. */
export class SenderLists {
  readonly #rules: readonly SenderRule[]
  readonly #bySender: AddressIndex
  readonly #byRecipient: AddressIndex

  private constructor(
    rules: readonly SenderRule[],
    indexes: { readonly bySender: AddressIndex; readonly byRecipient: AddressIndex },
  ) {
    this.#rules = rules
    this.#bySender = indexes.bySender
    this.#byRecipient = indexes.byRecipient
  }

  /**
   * @param patterns those of all lists together
   * @throws FilterError E_CONFIG for an entry that cannot be read
   */
  static *compile(rules: readonly SenderRule[], patterns: PatternPool): Steps<SenderLists> {
    const senders = rules.map((rule) => rule.senders)
    const recipients = rules.map((rule) => rule.recipients ?? [])
    return new SenderLists(rules, {
      bySender: yield* addressIndexInSteps(senders, { patterns }),
      byRecipient: yield* addressIndexInSteps(recipients, { patterns }),
    })
  }

  /** Whether there is nothing to look up. */
  get empty(): boolean {
    return this.#rules.length === 0
  }

  get rules(): readonly SenderRule[] {
    return this.#rules
  }

  /**
   * What can be said before recipients are looked at: a step for each address, of which From: may have many.
   *
   * @param lookup makes the question from an address
   */
  *forMail(facts: SenderFacts, lookup: (address: string) => LookupKeys): Steps<MailSender> {
    const hits = yield* this.#hitsOf(facts, lookup)
    if (hits.length === 0) return () => NOT_LISTED
    const forAll = hits.filter(({ rule }) => !this.#rules[rule]?.recipients)
    const forSome = new Map<number, Hit[]>()
    for (const hit of hits) {
      if (!this.#rules[hit.rule]?.recipients) continue
      const ofRule = forSome.get(hit.rule)
      if (ofRule) ofRule.push(hit)
      else forSome.set(hit.rule, [hit])
    }
    const rulesForSome: ReadonlySet<number> = new Set(forSome.keys())
    // Several authors could be one friend among strangers: then From: proves nothing.
    const author = facts.authors.length === 1 ? facts.authors[0] : undefined
    const identities = { mailFrom: facts.mailFrom, ...(author !== undefined && { author }) }
    return (recipient, proofs) => {
      const found = rulesForSome.size === 0 ? [] : this.#byRecipient.find(recipient(), rulesForSome)
      const named = found.flatMap(({ list, entry, key }) =>
        (forSome.get(list) ?? []).map((hit) => ({ ...hit, recipient: { entry, key, negated: false } })),
      )
      const matching = named.length === 0 ? forAll : [...forAll, ...named].toSorted((a, b) => a.rule - b.rule)
      if (matching.length === 0) return NOT_LISTED
      return this.#standing(
        matching.map((hit) => {
          const { action, unauthenticated } = this.#rules[hit.rule] as SenderRule // it comes from the index
          const counts =
            action !== 'allow' || unauthenticated || authenticates(proofs, hit.address, identities)
          return { ...hit, counts }
        }),
      )
    }
  }

  *#hitsOf(
    { mailFrom, authors }: SenderFacts,
    lookup: (address: string) => LookupKeys,
  ): Steps<readonly Hit[]> {
    if (this.empty) return []
    const addresses = [
      { address: mailFrom, identity: 'mail-from' as const },
      ...authors
        .filter((author) => author !== mailFrom)
        .map((address) => ({ address, identity: 'from' as const })),
    ]
    const hits: Hit[] = []
    for (const { address, identity } of addresses) {
      for (const { list: rule, entry, key } of this.#bySender.find(lookup(address))) {
        hits.push({ rule, address, identity, match: { entry, key, negated: false } })
      }
      yield
    }
    return hits.toSorted((a, b) => a.rule - b.rule)
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
