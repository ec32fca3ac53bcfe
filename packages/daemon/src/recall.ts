import {
  blockedReply,
  deliveryReply,
  failpoint,
  type Category,
  type Decision,
  type DeliveryResult,
  type Envelope,
  type Message,
  type Recipient,
} from '@ecluse/core'
import { ledgerKey, recipientKeys, type Attempt, type Ledger, type LedgerResult } from '@ecluse/state'

/** What was done for one recipient. */
export type RecipientResult = readonly [Recipient, LedgerResult]

/** One try to deal with a message, with what earlier tries have done; recipients are told apart by identity. */
export interface Recollection {
  /** Whether there is a ledger, and Postfix gave no queue id: nothing can be known. */
  readonly blind: boolean
  /** Recipients that are done: their reply stands. */
  readonly done: ReadonlyMap<Recipient, LedgerResult>
  /** The id under which an earlier try has kept the message for all of these; absent: none has. */
  reservedId(recipients: readonly Recipient[]): string | undefined
  /** To be called before the message is kept under the id. @throws FilterError E_LEDGER */
  reserve(id: string, recipients: readonly Recipient[]): Promise<void>
  /** To be called as soon as something is done, before it is answered. @throws FilterError E_LEDGER */
  record(results: readonly RecipientResult[]): Promise<void>
  /** Lets another try for the same recipients go on. */
  end(): void
}

const NOTHING: Recollection = {
  blind: false,
  done: new Map(),
  reservedId: () => undefined,
  reserve: async () => undefined,
  record: async () => undefined,
  end: () => undefined,
}

/**
 * Asks the ledger about a message. Waits while another try for one of its recipients is under way.
 *
 * @param ledger absent: nothing is known
 * @throws FilterError E_ABORTED; E_LEDGER when what would be done could not be remembered
 */
export async function recall(
  ledger: Ledger | undefined,
  { envelope, message }: { readonly envelope: Envelope; readonly message: Message },
  signal: AbortSignal,
): Promise<Recollection> {
  failpoint('K4-spooled')
  if (!ledger) return NOTHING
  const key = ledgerKey(envelope, message.digest)
  if (key === undefined) return { ...NOTHING, blind: true }
  const { recipients } = envelope
  const names = recipientKeys(recipients)
  const attempt = await ledger.begin(key, names, signal)
  const nameOf = new Map(recipients.map((recipient, index) => [recipient, names[index] ?? '']))
  const namesOf = (of: readonly Recipient[]): string[] => of.flatMap((each) => nameOf.get(each) ?? [])
  return {
    blind: false,
    done: doneOf(attempt, recipients, names),
    reservedId: (of) => attempt.reservedId(namesOf(of)),
    reserve: (id, of) => attempt.reserve(id, namesOf(of)),
    async record(results) {
      if (results.length === 0) return
      failpoint('K16-done-not-recorded')
      await attempt.record(
        new Map(results.map(([recipient, result]) => [nameOf.get(recipient) ?? '', result])),
      )
      failpoint('K16b-recorded')
    },
    end: () => attempt.end(),
  }
}

function doneOf(
  { done }: Attempt,
  recipients: readonly Recipient[],
  names: readonly string[],
): ReadonlyMap<Recipient, LedgerResult> {
  if (done.size === 0) return NOTHING.done
  return new Map(
    recipients.flatMap((recipient, index): [Recipient, LedgerResult][] => {
      const result = done.get(names[index] ?? '')
      return result ? [[recipient, result]] : []
    }),
  )
}

/** What is done for recipients that a rule keeps the message from; the ledger leaves replies of 4xx out. */
export function blockedResults(decisions: readonly Decision[], id: string): RecipientResult[] {
  return decisions
    .filter(({ destiny }) => destiny !== 'pass')
    .map((decision) => {
      const { recipient, category } = decision
      return [recipient, { reply: blockedReply(decision, id), outcome: 'blocked', category }]
    })
}

/**
 * What a second try must not do again, in the order of the results; a recipient for whom it has to is left out. The
 * ledger leaves replies of 4xx out.
 */
export function finalResults(
  results: readonly DeliveryResult[],
  categories: ReadonlyMap<Recipient, Category>,
  id: string,
): RecipientResult[] {
  return results.flatMap((result): RecipientResult[] => {
    const { recipient, outcome } = result
    if (outcome !== 'relayed' && outcome !== 'refused') return []
    const category = categories.get(recipient)
    const queuedAs = outcome === 'relayed' ? result.queuedAs : undefined
    const told = { ...(queuedAs !== undefined && { queuedAs }), ...(category && { category }) }
    return [[recipient, { reply: deliveryReply(result, id), outcome, ...told }]]
  })
}
