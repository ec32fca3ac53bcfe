import type { Decision, Message } from '@ecluse/core'
import { isBlocked, type QuarantineEntry, type QuarantineOutcome } from '@ecluse/quarantine'
import { judge, type JudgeParts } from './judge.ts'

/** What today's scanners and rules say of a message that is kept, for one recipient that waits for it. */
export interface Rejudged {
  /** What was decided when it came. */
  readonly was: QuarantineOutcome
  readonly decision: Decision
  /** Whether it would now pass; never where a scanner failed: who could not look at it must not let it out. */
  readonly passes: boolean
}

/**
 * Judges anew what is kept, with the envelope that it came with. Nothing happens to it.
 *
 * @param kept message: the original, which stays the caller's
 * @returns in RCPT TO order, of the recipients that wait; empty: nobody does, and nothing was asked
 * @throws FilterError E_ABORTED
 */
export async function judgeKept(
  parts: JudgeParts,
  { entry, message }: { readonly entry: QuarantineEntry; readonly message: Message },
  signal: AbortSignal,
): Promise<readonly Rejudged[]> {
  const waiting = new Map(
    entry.outcomes
      .filter((outcome) => outcome.state === 'kept' && isBlocked(outcome))
      .map((outcome) => [outcome.recipient.address, outcome]),
  )
  if (waiting.size === 0) return []
  const arrived = { envelope: entry.envelope, message, receivedAt: entry.storedAt }
  const { decisions, scans } = await judge(parts, arrived, signal)
  const failed = scans.some(({ outcome }) => outcome === 'failed')
  return decisions.flatMap((decision) => {
    const was = waiting.get(decision.recipient.address)
    return was ? [{ was, decision, passes: !failed && decision.destiny === 'pass' }] : []
  })
}
