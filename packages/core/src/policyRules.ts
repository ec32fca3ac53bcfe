import { addressIndexInSteps, type AddressIndex } from './addressIndex.ts'
import type { AddressList, AddressMatch } from './addressList.ts'
import type { ListEntry } from './listEntry.ts'
import type { LookupKeys } from './lookupKeys.ts'
import {
  networkIndexInSteps,
  type NetworkIndex,
  type NetworkList,
  type NetworkMatch,
} from './networkIndex.ts'
import type { PatternPool } from './pattern.ts'
import { overlayPolicy, type Policy, type PolicyOverlay } from './policy.ts'
import type { Steps } from './steps.ts'

/** What an overlay is for: every condition that is there must hold; of a list, any entry. */
export interface PolicyConditions {
  /** Whether the message is our own: from one of our networks. */
  readonly originating?: boolean
  /** Addresses of `listen`, as {@link Envelope.listener} has them. */
  readonly listeners?: ReadonlySet<string>
  /** The client that gave the message to Postfix; one that is not known is in no network. */
  readonly clients?: NetworkList & Entries
  /** The envelope's sender. */
  readonly senders?: AddressList & Entries
  readonly recipients?: AddressList & Entries
}

/** What a list was made from. */
export interface Entries {
  readonly entries: readonly ListEntry[]
}

/** One overlay. */
export interface PolicyRule {
  readonly name: string
  readonly when: PolicyConditions
  readonly policy: PolicyOverlay
}

/** What conditions look at, beside the recipient. */
export interface MailFacts {
  readonly originating: boolean
  readonly listener: string
  /** IP address; absent: not known. */
  readonly client?: string
  readonly sender: LookupKeys
}

/** How one condition of one overlay turned out. */
export interface ConditionResult {
  readonly condition: keyof PolicyConditions
  readonly holds: boolean
  /** The entry that decided; absent: none fits, or the condition is no list. */
  readonly match?: AddressMatch | NetworkMatch
}

/** The policies of one message. */
export interface MailPolicies {
  /** The same object for all recipients that the same overlays apply to. */
  policyFor(recipient: LookupKeys): Policy
  /** Numbers of the overlays that apply, in their order. */
  overlaysFor(recipient: LookupKeys): readonly number[]
  /** How each condition of one overlay turns out, the one about the recipient last; for people. */
  conditionsOf(number: number, recipient: LookupKeys): readonly ConditionResult[]
}

/** One overlay that applies. */
export interface PolicyLayer {
  /** Its number, from 0. */
  readonly number: number
  /** The policy with it, and all before it. */
  readonly policy: Policy
}

/** Policies kept, one for each combination of overlays that came up; more are made anew. */
const MAX_COMBINATIONS = 10_000

/**
 * The policy and its overlays. Thousands of overlays cost a message no more than those that could apply: each is
 * found by one of its conditions, the others are looked at then.
 */
export class PolicyRules {
  readonly #base: Policy
  readonly #rules: readonly PolicyRule[]
  readonly #byRecipient: Numbered<AddressIndex>
  readonly #bySender: Numbered<AddressIndex>
  readonly #byClient: Numbered<NetworkIndex>
  readonly #byListener: ReadonlyMap<string, readonly number[]>
  readonly #always: readonly number[]
  readonly #combinations = new Map<string, Policy>()

  private constructor(base: Policy, rules: readonly PolicyRule[], indexes: RuleIndexes) {
    this.#base = base
    this.#rules = rules
    this.#byRecipient = indexes.recipients
    this.#bySender = indexes.senders
    this.#byClient = indexes.clients
    this.#byListener = byListener(rules)
    this.#always = [...leading(rules, 'originating').numbers, ...leading(rules, undefined).numbers]
  }

  /**
   * @param patterns those that the conditions of all overlays were compiled with
   * @throws FilterError E_CONFIG for an entry that cannot be read
   */
  static *compile(base: Policy, rules: readonly PolicyRule[], patterns: PatternPool): Steps<PolicyRules> {
    const recipients = leading(rules, 'recipients')
    const senders = leading(rules, 'senders')
    const clients = leading(rules, 'clients')
    return new PolicyRules(base, rules, {
      recipients: { ...recipients, index: yield* addressIndexInSteps(recipients.lists, { patterns }) },
      senders: { ...senders, index: yield* addressIndexInSteps(senders.lists, { patterns }) },
      clients: { ...clients, index: yield* networkIndexInSteps(clients.lists) },
    })
  }

  get rules(): readonly PolicyRule[] {
    return this.#rules
  }

  get base(): Policy {
    return this.#base
  }

  /** What can be said before recipients are looked at; once for each message. */
  forMail(facts: MailFacts): MailPolicies {
    if (this.#rules.length === 0) {
      return { policyFor: () => this.#base, overlaysFor: () => [], conditionsOf: () => [] }
    }
    const known = new Map<number, boolean>()
    const holds = (number: number): boolean => {
      let answer = known.get(number)
      if (answer === undefined) {
        const rule = this.#rules[number]
        answer = rule !== undefined && otherConditions(rule.when, facts).every((result) => result.holds)
        known.set(number, answer)
      }
      return answer
    }
    const forAll = [
      ...this.#always,
      ...(this.#byListener.get(facts.listener) ?? []),
      ...(facts.client === undefined ? [] : numbersOf(this.#byClient, facts.client)),
      ...numbersOf(this.#bySender, facts.sender),
    ].filter(holds)
    const overlaysFor = (recipient: LookupKeys): readonly number[] =>
      [...forAll, ...numbersOf(this.#byRecipient, recipient).filter(holds)].toSorted((a, b) => a - b)
    return {
      overlaysFor,
      policyFor: (recipient) => this.#combine(overlaysFor(recipient)),
      conditionsOf: (number, recipient) => {
        const when = this.#rules[number]?.when ?? {}
        const list = when.recipients
        const results = mailConditions(when, facts)
        return list ? [...results, inAddresses('recipients', list, recipient)] : results
      },
    }
  }

  /**
   * The overlays laid over the policy, one after the other; empty: there are none.
   *
   * @param numbers in their order
   */
  layersOf(numbers: readonly number[]): PolicyLayer[] {
    let policy = this.#base
    return numbers.map((number) => {
      policy = overlayPolicy(policy, this.#rules[number]?.policy ?? {})
      return { number, policy }
    })
  }

  #combine(numbers: readonly number[]): Policy {
    if (numbers.length === 0) return this.#base
    const key = numbers.join(' ')
    let policy = this.#combinations.get(key)
    if (!policy) {
      policy = this.layersOf(numbers).at(-1)?.policy ?? this.#base
      if (this.#combinations.size >= MAX_COMBINATIONS) this.#combinations.clear()
      this.#combinations.set(key, policy)
    }
    return policy
  }
}

/**
 * The condition that an overlay is found by: the one that probably fits the fewest messages. Its list is only asked
 * through the index, for messages.
 */
export function leadingCondition(
  when: Readonly<Partial<Record<keyof PolicyConditions, unknown>>>,
): keyof PolicyConditions | undefined {
  return (['recipients', 'senders', 'clients', 'listeners', 'originating'] as const).find(
    (condition) => when[condition] !== undefined,
  )
}

/** Lists, and the numbers of the overlays that they are a condition of. */
interface Leading {
  readonly numbers: readonly number[]
  readonly lists: readonly (readonly ListEntry[])[]
}

type Numbered<I> = Leading & { readonly index: I }

interface RuleIndexes {
  readonly recipients: Numbered<AddressIndex>
  readonly senders: Numbered<AddressIndex>
  readonly clients: Numbered<NetworkIndex>
}

function leading(rules: readonly PolicyRule[], condition: keyof PolicyConditions | undefined): Leading {
  const numbers = rules.flatMap(({ when }, number) => (leadingCondition(when) === condition ? [number] : []))
  const lists = numbers.map((number) => {
    const list = condition && rules[number]?.when[condition]
    return isList(list) ? list.entries : []
  })
  return { numbers, lists }
}

function isList(
  condition: PolicyConditions[keyof PolicyConditions],
): condition is Extract<typeof condition, Entries> {
  return typeof condition === 'object' && 'match' in condition
}

/** Numbers of the overlays whose leading list holds what is asked. */
function numbersOf<A>(
  { numbers, index }: Numbered<{ match: (asked: A) => readonly number[] }>,
  asked: A,
): number[] {
  return index.match(asked).flatMap((list) => numbers[list] ?? [])
}

function byListener(rules: readonly PolicyRule[]): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const number of leading(rules, 'listeners').numbers) {
    for (const listener of rules[number]?.when.listeners ?? []) {
      const numbers = found.get(listener)
      if (numbers) numbers.push(number)
      else found.set(listener, [number])
    }
  }
  return found
}

/** As mailConditions, for an overlay whose leading list has been found to hold. */
function otherConditions(when: PolicyConditions, facts: MailFacts): ConditionResult[] {
  const { senders, clients, ...others } = when
  const first = leadingCondition(when)
  return mailConditions(
    {
      ...others,
      ...(senders && first !== 'senders' && { senders }),
      ...(clients && first !== 'clients' && { clients }),
    },
    facts,
  )
}

/** Every condition but the one about the recipient. */
function mailConditions(when: PolicyConditions, facts: MailFacts): ConditionResult[] {
  const results: ConditionResult[] = []
  if (when.originating !== undefined) {
    results.push({ condition: 'originating', holds: when.originating === facts.originating })
  }
  if (when.listeners) results.push({ condition: 'listeners', holds: when.listeners.has(facts.listener) })
  if (when.clients) {
    const match = facts.client === undefined ? undefined : when.clients.match(facts.client)
    results.push({ condition: 'clients', holds: match?.negated === false, ...(match && { match }) })
  }
  if (when.senders) results.push(inAddresses('senders', when.senders, facts.sender))
  return results
}

function inAddresses(
  condition: 'senders' | 'recipients',
  list: AddressList,
  address: LookupKeys,
): ConditionResult {
  const match = list.match(address)
  return { condition, holds: match?.negated === false, ...(match && { match }) }
}
