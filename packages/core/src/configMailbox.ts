import type { z } from 'zod'
import { isOwnMailbox } from './bounce.ts'
import type { Config } from './config.ts'
import { localDomains } from './policy.ts'

/** Kept mail must not leave the house, and what is in a mailbox cannot be listed or released. */
export function mailboxStands(
  { quarantine, localDomains: entries, notices, console: page }: Config,
  context: z.core.$RefinementCtx,
): void {
  const { store, mailbox } = quarantine
  if (store !== 'mailbox') return
  const refuse = (path: string[], message: string, hint: string): void =>
    context.addIssue({ code: 'custom', path, message, params: { hint } })
  if (mailbox !== undefined && !isOwnMailbox(mailbox, localDomains(entries))) {
    refuse(
      ['quarantine', 'mailbox'],
      'is not in localDomains: kept mail would leave the house',
      'use an address of your own',
    )
  }
  const hint = 'use store: files'
  if (notices.recipients) {
    refuse(['notices', 'recipients'], 'cannot be with quarantine.store: mailbox, which lists nothing', hint)
  }
  if (page) refuse(['console'], 'cannot be with quarantine.store: mailbox, which releases nothing', hint)
}
