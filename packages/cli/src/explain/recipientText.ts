import type {
  ExplainedCondition,
  ExplainedOverlay,
  ExplainedRecipient,
  ExplainedSenderEntry,
} from './explanation.ts'
import { address, found, points, quoted, row, shown, value } from './words.ts'

/** What core decides of it. */
const LISTED = {
  allowed: 'allowed: whatever the points, no spam',
  blocked: 'blocked: whatever the points, spam',
} as const

const INSIDE = ' '.repeat(15)

/** Everything about one recipient, a line each. */
export function recipientText(recipient: ExplainedRecipient): string[] {
  const { local, keys, overlays, overlaysLeftOut: others, policy, scanners } = recipient
  return [
    `Recipient ${address(recipient.address)}`,
    row('local', local ? 'yes' : 'no: no spam fields, no subject tag, no address extension'),
    row('keys', keys.map(shown).join('  ')),
    ...overlays.flatMap(overlayText),
    row('policies', policiesText(overlays, others)),
    row(
      'levels',
      `tag ${points(policy.tagLevel)}, tag2 ${points(policy.tag2Level)}, kill ${points(policy.killLevel)}`,
    ),
    row('scanners', scanners.map(shown).join(', ') || 'none'),
    ...recipient.senders.entries.flatMap(senderText),
    ...(recipient.senders.listed ? [row('listed', LISTED[recipient.senders.listed])] : []),
    row('score', scoreText(recipient)),
    ...categoriesText(recipient),
    row('destiny', destinyText(recipient)),
    row('quarantine', `${recipient.quarantined ? 'yes' : 'no'}: ${shown(recipient.quarantineWhy)}`),
    ...outText(recipient),
    row('reply', replyText(recipient)),
  ]
}

function policiesText(overlays: readonly ExplainedOverlay[], others: number): string {
  const applied = overlays.filter(({ applies }) => applies).map(({ number }) => `policies[${number}]`)
  const left = others === 0 ? '' : `; of ${others} others no condition holds (--all)`
  return `policy${applied.map((name) => ` + ${name}`).join('')}${left}`
}

function overlayText({ number, name, place, applies, conditions, changes }: ExplainedOverlay): string[] {
  return [
    row(
      'overlay',
      `policies[${number}] ${quoted(name)} (${shown(place)}) ${applies ? 'applies' : 'does not apply'}`,
    ),
    ...(conditions.length === 0 ? [`${INSIDE}  no conditions`] : conditions.map(conditionText)),
    ...changes.map(
      (change) =>
        `${INSIDE}  ${shown(change.key)} ${value(change.from)} → ${value(change.to)} (${shown(change.place)})`,
    ),
    ...(applies && changes.length === 0 ? [`${INSIDE}  changes nothing`] : []),
  ]
}

function conditionText({ condition, holds, wanted, match, place }: ExplainedCondition): string {
  const why = match
    ? found(match)
    : NO_LIST.has(condition)
      ? `(${shown(place)})`
      : `no entry fits (${shown(place)})`
  return `${INSIDE}  ${holds ? 'holds' : 'fails'}: ${condition} ${wanted === undefined ? '' : `${wanted} `}${why}`
}

const NO_LIST: ReadonlySet<string> = new Set(['originating', 'listeners'])

function senderText(entry: ExplainedSenderEntry): string[] {
  const { number, place, action, score, identity, match, recipient } = entry
  const does = action ?? `score ${points(score ?? 0)}`
  return [
    row(
      'sender list',
      `senders[${number}] (${shown(place)}) ${does}: ${identity} ${address(entry.address)} is ${found(match)}`,
    ),
    ...(recipient ? [`${INSIDE}  for ${found(recipient)}`] : []),
    `${INSIDE}  ${countsText(entry)}`,
  ]
}

function countsText({ counts, why, action, unauthenticated }: ExplainedSenderEntry): string {
  if (!counts) return `does not count, ${why ?? ''}`
  if (action !== 'allow') return 'counts'
  return unauthenticated ? 'counts without a proof: unauthenticated' : 'counts: the sender is proved'
}

function scoreText({ score, symbols }: ExplainedRecipient): string {
  const rules = symbols.map((symbol) => `${shown(symbol.name)}=${points(symbol.score)}`).join(' ')
  return score === undefined ? 'none' : `${points(score)}${rules && `: ${rules}`}`
}

function categoriesText({ categories, category, deferred }: ExplainedRecipient): string[] {
  if (categories.length === 0) return [row('category', deferred ? `${category}: a scanner failed` : category)]
  return categories.map((of) =>
    row(
      'category',
      `${of.category}: ${shown(of.why)}; destiny ${of.destiny}${of.decides ? '; decides' : ''}`,
    ),
  )
}

function destinyText({ destiny, softened, suppressed, deferred }: ExplainedRecipient): string {
  if (softened) return `${destiny}, by softBounce in place of ${softened}`
  if (suppressed) return `${destiny}, in place of a bounce: ${suppressed}`
  return deferred ? `${destiny}: a scanner with onError tempfail failed` : destiny
}

function outText({ transaction, target }: ExplainedRecipient): string[] {
  if (transaction === undefined || target === undefined) return []
  return [row('goes out', `to ${address(target)} in copy ${transaction + 1}`)]
}

function replyText({ reply, replyFrom }: ExplainedRecipient): string {
  return reply === undefined
    ? `what ${shown(replyFrom)} answers: not known before it has the message`
    : shown(reply)
}
