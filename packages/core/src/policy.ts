import { domainKey, splitAddress } from './lookupKeys.ts'
import type { Concern } from './scanner.ts'
import { CATEGORIES, type Category } from './verdict.ts'

/** What is done with a message of some category; amavisd's final_*_destiny. */
export const DESTINIES = ['pass', 'discard', 'reject', 'bounce', 'tempfail'] as const
export type Destiny = (typeof DESTINIES)[number]

/** How the scores of several spam scanners become one. */
export const SCORE_RULES = ['sum', 'highest'] as const
export type ScoreRule = (typeof SCORE_RULES)[number]

/** Who is told by mail of what was found: the administrator, local recipients once a day, our own senders. */
export const NOTICE_AUDIENCES = ['admin', 'recipients', 'senders'] as const
export type NoticeAudience = (typeof NOTICE_AUDIENCES)[number]

/** A category that something can be decided about. */
export type Blemish = Exclude<Category, 'clean'>

/** All of them, worst first. */
export const BLEMISHES: readonly Blemish[] = CATEGORIES.filter((category) => category !== 'clean')

/** What a virus name stands for: points in place of a virus, nothing at all, or a virus after all. */
export type VirusMeaning = number | 'ignore' | 'virus'

/** What one recipient's site wants done. */
export interface Policy {
  /** Spam points from which a local recipient gets the spam header fields. */
  readonly tagLevel: number
  /** Spam points from which the message is 'spammy': X-Spam-Flag: YES and the subject tag. */
  readonly tag2Level: number
  /** Spam points from which the message is 'spam': its destiny applies. */
  readonly killLevel: number
  /** Spam points from which spam is not worth keeping; absent: all of it is. */
  readonly quarantineCutoffLevel?: number
  /** Spam points from which nobody is told that the message was not delivered: it is kept in place of a DSN. */
  readonly bounceCutoffLevel: number
  /** Put before the subject of spammy mail and spam, for local recipients; '' for none. */
  readonly subjectTag: string
  /** The same for the categories it names, spam and spammy included. */
  readonly subjectTags: Readonly<Partial<Record<Blemish, string>>>
  readonly scores: ScoreRule
  readonly destiny: Readonly<Record<Blemish, Destiny>>
  /** Categories of which a copy is kept. */
  readonly quarantine: readonly Category[]
  /** Categories that are delivered whatever their destiny says: amavisd's lovers. */
  readonly deliverAnyway: readonly Category[]
  /** What this recipient's mail is not looked at for; what scanners found of it all the same does not count. */
  readonly bypass: readonly Concern[]
  /** Names of the scanners that count for this recipient; absent: all. */
  readonly scanners?: readonly string[]
  /**
   * Virus names that are none, by patterns with `*` and `?`; the first that fits decides, in the order of the keys,
   * those of an overlay before those below it.
   */
  readonly virusNames: Readonly<Record<string, VirusMeaning>>
  /** Extension that the address of a local recipient gets, such as `spam` for user+spam@, by category. */
  readonly addressExtension: Readonly<Partial<Record<Blemish, string>>>
  /** Header fields that do not pass, beside those that only we may write; a final `*` is any rest. */
  readonly removeHeaders: readonly string[]
  /** Bytes; a larger message is 'oversized' for this recipient. Absent: no limit of its own. */
  readonly messageSize?: number
  /** Who may be told of this recipient's mail, where `notices` of the configuration tells anybody. */
  readonly notices: readonly NoticeAudience[]
}

/** Some keys of a policy, to lie over another one: sections are merged key by key, lists replaced. */
export type PolicyOverlay = {
  readonly [K in keyof Policy]?: Policy[K] extends readonly unknown[] | undefined
    ? Policy[K]
    : Partial<Policy[K]>
}

/** One key that an overlay changed; `destiny.spam` inside a section. */
export interface PolicyChange {
  readonly key: string
  /** Absent: it was not set. */
  readonly from?: unknown
  readonly to: unknown
}

/** The policy with the overlay over it. */
export function overlayPolicy(policy: Policy, overlay: PolicyOverlay): Policy {
  const merged: Record<string, unknown> = { ...policy }
  for (const [key, value] of Object.entries(overlay)) {
    const below = merged[key]
    if (!isSection(value) || !isSection(below)) merged[key] = value
    // Its keys first: of these patterns the first that fits decides, and the overlay has the last word.
    else if (key === 'virusNames') merged[key] = { ...value, ...below, ...value }
    else merged[key] = { ...below, ...value }
  }
  // Each key has its own type: the schema has read the overlay with the types of Policy.
  return merged as unknown as Policy
}

/** What the overlay changes about the policy, in the order of its keys; keys set to what they are left out. */
export function policyChanges(policy: Policy, overlay: PolicyOverlay): PolicyChange[] {
  const before: Readonly<Record<string, unknown>> = { ...policy }
  return Object.entries(overlay).flatMap(([key, value]) => {
    const below = before[key]
    if (!isSection(value)) return changed(key, below, value)
    const inside = isSection(below) ? below : {}
    return Object.entries(value).flatMap(([name, to]) => changed(`${key}.${name}`, inside[name], to))
  })
}

function changed(key: string, from: unknown, to: unknown): PolicyChange[] {
  if (JSON.stringify(from) === JSON.stringify(to)) return []
  return [from === undefined ? { key, to } : { key, from, to }]
}

function isSection(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Answers whether a recipient belongs to the local domains; an address without a domain is Postfix's own. */
export type LocalDomains = (address: string) => boolean

/**
 * Compiles `localDomains`: `example.net` is that domain, `.example.net` the domain and all below it.
 * Domains are compared as in lists of addresses: without case and final dots, U-labels as A-labels.
 */
export function localDomains(entries: readonly string[]): LocalDomains {
  const exact = new Set<string>()
  const parents = new Set<string>()
  for (const entry of entries) {
    if (entry.startsWith('.')) parents.add(domainKey(entry.slice(1)))
    else exact.add(domainKey(entry))
  }
  return (address) => {
    if (!address.includes('@')) return true
    let { domain } = splitAddress(address)
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
