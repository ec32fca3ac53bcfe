import { directionOf, isOriginating, type Direction } from './direction.ts'
import type { Envelope } from './envelope.ts'
import type { LocalDomains, Policy } from './policy.ts'
import type { NetworkList, NetworkMatch } from './networkIndex.ts'
import type { ConditionResult, MailFacts, PolicyRules } from './policyRules.ts'
import type { SenderLists, SenderStanding } from './senderLists.ts'
import type { Finding } from './verdict.ts'
import { lookupKeys, type LookupKeys } from './lookupKeys.ts'
import { finish, type Steps } from './steps.ts'

/** Everything about recipients, senders and clients that a configuration says, ready to be asked. */
export interface Rules {
  readonly isLocal: LocalDomains
  readonly softBounce: boolean
  /** One character, or '': there are no address extensions. */
  readonly recipientDelimiter: string
  /** Whose Authentication-Results are believed; empty: nobody's. */
  readonly authservIds: readonly string[]
  /** Whether {@link forMail} has any use for the addresses of From:. */
  readonly wantsAuthors: boolean
  readonly policies: PolicyRules
  readonly senders: SenderLists
  directionOf(envelope: Envelope): Direction
  /** The entry of our own networks that decides about an IP address; absent: none holds it. */
  networkOf(address: string): NetworkMatch | undefined
  /**
   * What applies to one message.
   *
   * @param authors addresses of From:, as received
   */
  forMail(envelope: Envelope, authors: readonly string[]): MailRules
  /** The same, for use while other mail waits: a step for each address of the sender. */
  mailInSteps(envelope: Envelope, authors: readonly string[]): Steps<MailRules>
  /** An address as lists are asked for it. */
  lookup(address: string): LookupKeys
}

/** The rules for one message. */
export interface MailRules {
  readonly facts: MailFacts
  /** The same object for all recipients that the same overlays apply to. */
  policyFor(recipient: string): Policy
  /** Numbers of the overlays that apply, in their order. */
  overlaysFor(recipient: string): readonly number[]
  /** How each condition of an overlay, by its number, turns out; the one about the recipient last; for people. */
  conditionsFor(recipient: string): (number: number) => readonly ConditionResult[]
  standingFor(recipient: string, proofs: readonly Finding[]): SenderStanding
}

/** What {@link createRules} puts together. */
export interface RuleParts extends Pick<
  Rules,
  'isLocal' | 'softBounce' | 'recipientDelimiter' | 'authservIds' | 'policies' | 'senders'
> {
  /** Our own networks. */
  readonly own: NetworkList
}

/** Puts the parts together. */
export function createRules({ own, ...parts }: RuleParts): Rules {
  const { isLocal, recipientDelimiter: delimiter, policies, senders } = parts
  const lookup = (address: string): LookupKeys => lookupKeys(address, { delimiter, local: isLocal(address) })
  const isOwn = (address: string): boolean => own.match(address)?.negated === false
  function* mailInSteps(envelope: Envelope, authors: readonly string[]): Steps<MailRules> {
    const { mailFrom, client, listener } = envelope
    const facts: MailFacts = {
      originating: isOriginating(envelope, isOwn),
      listener,
      ...(client.address !== undefined && { client: client.address }),
      sender: lookup(mailFrom),
    }
    const mailPolicies = policies.forMail(facts)
    const standing = yield* senders.forMail({ mailFrom, authors }, lookup)
    return {
      facts,
      // Without overlays nobody is looked up.
      policyFor:
        policies.rules.length === 0
          ? () => policies.base
          : (recipient) => mailPolicies.policyFor(lookup(recipient)),
      overlaysFor: (recipient) => mailPolicies.overlaysFor(lookup(recipient)),
      conditionsFor(recipient) {
        const asked = lookup(recipient)
        return (number) => mailPolicies.conditionsOf(number, asked)
      },
      standingFor: (recipient, proofs) => standing(() => lookup(recipient), proofs),
    }
  }
  return {
    ...parts,
    wantsAuthors: !senders.empty,
    lookup,
    networkOf: (address) => own.match(address),
    directionOf: (envelope) => directionOf(isOriginating(envelope, isOwn), envelope, isLocal),
    mailInSteps,
    forMail: (envelope, authors) => finish(mailInSteps(envelope, authors)),
  }
}
