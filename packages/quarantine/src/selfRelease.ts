import { isOwnMailbox, type LocalDomains } from '@ecluse/core'
import { isBlocked, type QuarantineEntry } from './record.ts'
import { isAddress, isDangerous } from './release.ts'

/** Whether a recipient may release a message: it waits, it was released to this recipient, or an administrator must. */
export type SelfRelease = 'open' | 'released' | 'closed'

/**
 * What a recipient may do about a message; pure. A virus, a banned file and what could not be looked into are for an
 * administrator, whomever they were found for; so is what the recipient has or has deleted, what was deferred, and mail
 * for other people's domains.
 *
 * @param address as the envelope has it
 */
export function selfRelease(
  { outcomes, releases }: QuarantineEntry,
  address: string,
  isLocal: LocalDomains,
): SelfRelease {
  if (outcomes.some((outcome) => isDangerous(outcome) || outcome.category === 'unchecked')) return 'closed'
  if (!isAddress(address)) return 'closed'
  if (!isOwnMailbox(address, isLocal)) return 'closed'
  const own = outcomes.filter((outcome) => outcome.recipient.address === address && isBlocked(outcome))
  if (own.length === 0) return 'closed'
  if (releases.some(({ to }) => to.includes(address))) return 'released'
  return own.some(({ state }) => state !== 'deleted') ? 'open' : 'closed'
}
