import {
  destinyOf,
  formatScore,
  isWanted,
  keptCategories,
  listSymbol,
  type Blemish,
  type ConfiguredScanner,
  type Decision,
  type Delivery,
  type Recipient,
  type Rules,
  type SenderMatch,
  type SmtpReply,
} from '@ecluse/core'
import type { Judgement } from '@ecluse/daemon'
import type { ExplainedRecipient, ExplainedSenderEntry } from './explanation.ts'
import { overlaysOf, type OverlayContext } from './overlays.ts'

/** What recipients are explained with. */
export interface RecipientContext extends OverlayContext {
  readonly rules: Rules
  readonly judgement: Judgement
  readonly ways: Ways
  readonly scanners: readonly ConfiguredScanner[]
  /** In RCPT TO order; absent ones come from the next hop. */
  readonly replies: readonly (SmtpReply | undefined)[]
  /** Its address. */
  readonly nextHop: string
}

/** Everything about one recipient. */
export function explainRecipient(
  decision: Decision,
  index: number,
  context: RecipientContext,
): ExplainedRecipient {
  const { rules, scanners, replies, nextHop, ways } = context
  const { recipient, policy, local, score, assessment, softened, suppressed, sender, quarantined } = decision
  const { address } = recipient
  const { overlays, leftOut } = overlaysOf(address, context)
  const reply = replies[index]
  return {
    address,
    local,
    keys: rules.lookup(address).keys,
    overlays,
    overlaysLeftOut: leftOut,
    policy,
    scanners: scanners.filter((scanner) => isWanted(scanner, policy)).map(({ name }) => name),
    senders: sendersOf(decision, context),
    ...(score !== undefined && { score }),
    symbols: [...assessment.symbols, ...(sender.points === 0 ? [] : [listSymbol(sender)])],
    viruses: assessment.viruses,
    categories: categoriesOf(decision),
    category: decision.category,
    destiny: decision.destiny,
    ...(softened && { softened }),
    ...(suppressed && { suppressed }),
    deferred: isDeferred(decision),
    quarantined,
    quarantineWhy: quarantineWhy(decision),
    ...ways.get(recipient),
    ...(reply && { reply: `${reply.code} ${reply.enhanced} ${reply.text}` }),
    replyFrom: reply ? 'ecluse' : nextHop,
  }
}

/** A failed scanner that nothing is decided without. */
function isDeferred({ assessment, blemishes, destiny }: Decision): boolean {
  return assessment.mustDefer && destiny === 'tempfail' && blemishes.length === 0
}

/** Where a recipient goes. */
export type Ways = ReadonlyMap<Recipient, Pick<ExplainedRecipient, 'transaction' | 'target'>>

/** Which copy each recipient gets, and as whom. */
export function waysOf(plan: readonly Delivery[]): Ways {
  return new Map(
    plan.flatMap(({ recipients, targets }, transaction) =>
      recipients.map((recipient, index) => [
        recipient,
        { transaction, target: (targets[index] ?? recipient).address },
      ]),
    ),
  )
}

function categoriesOf(decision: Decision): ExplainedRecipient['categories'] {
  return decision.blemishes.map((category) => ({
    category,
    destiny: destinyOf(category, decision.policy),
    decides: category === decision.category,
    why: categoryWhy(category, decision),
  }))
}

/** The figures that it hangs on. */
function categoryWhy(category: Blemish, { assessment, policy, score, sender }: Decision): string {
  switch (category) {
    case 'virus':
      return assessment.viruses.join(', ')
    case 'unchecked':
      return assessment.unchecked.join(', ')
    case 'spam':
    case 'spammy': {
      if (sender.listed) return `the sender is ${sender.listed}`
      const [key, level] =
        category === 'spam' ? ['killLevel', policy.killLevel] : ['tag2Level', policy.tag2Level]
      return `score ${formatScore(score ?? 0)}, ${key} ${formatScore(level as number)}`
    }
    case 'oversized':
      return `messageSize ${policy.messageSize ?? Infinity} bytes`
    case 'banned':
    case 'bad-header':
      return 'found'
  }
}

function quarantineWhy(decision: Decision): string {
  const { blemishes, policy, score, softened, suppressed, destiny } = decision
  const kept = keptCategories(blemishes, policy, score)
  if (decision.quarantined && suppressed) return `in place of a bounce: ${suppressed}`
  if (decision.quarantined) return `policy.quarantine has ${kept.join(', ')}`
  if (isDeferred(decision)) return 'nothing is decided before the failed scanner answers'
  if (blemishes.length === 0) return 'clean'
  if (softened) return 'softBounce: it stays in the queue of Postfix'
  if (kept.length > 0) {
    return destiny === 'tempfail'
      ? 'destiny tempfail: it stays in the queue of Postfix'
      : 'the one reply of SMTP is 4xx: Postfix comes again for all recipients'
  }
  const named = blemishes.filter((category) => policy.quarantine.includes(category))
  if (named.length === 0) return `policy.quarantine has not ${blemishes.join(', ')}`
  return `score ${formatScore(score ?? 0)}, quarantineCutoffLevel ${policy.quarantineCutoffLevel ?? Infinity}`
}

/** Lists are also told of where they do not count for this recipient. */
function sendersOf(decision: Decision, context: RecipientContext): ExplainedRecipient['senders'] {
  const { judgement, rules, places } = context
  const { listed, points } = decision.sender
  const { matches } = judgement.mailRules.standingFor(decision.recipient.address, judgement.proofs)
  const bypassed = decision.policy.bypass.includes('spam')
  const entry = (found: SenderMatch): ExplainedSenderEntry => {
    const { action, score, unauthenticated = false } = rules.senders.rules[found.rule] ?? {}
    const why = bypassed ? 'policy.bypass has spam' : found.counts ? undefined : NOT_PROVED
    return {
      number: found.rule,
      place: places.of(`senders[${found.rule}]`),
      ...(action && { action }),
      ...(score !== undefined && { score }),
      unauthenticated,
      identity: found.identity,
      address: found.address,
      match: places.entry(found.match),
      ...(found.recipient && { recipient: places.entry(found.recipient) }),
      counts: why === undefined,
      ...(why !== undefined && { why }),
    }
  }
  return { ...(listed && { listed }), points, entries: matches.map(entry) }
}

const NOT_PROVED = 'not authenticated: nothing proves that the sender is who it says'
