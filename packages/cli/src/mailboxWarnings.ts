import type { Config } from '@ecluse/core'
import type { Warning } from './warning.ts'

/** What of `quarantine` changes nothing where copies are mail in a mailbox, and the mailbox where they are not. */
export function mailboxWarnings({ quarantine }: Config): Warning[] {
  const { store, mailbox, keep, maxSize, compress } = quarantine
  const useless = (key: string, hint: string): Warning => ({
    path: ['quarantine', key],
    message: `has no use with store: ${store}`,
    hint,
  })
  if (store !== 'mailbox') return mailbox === undefined ? [] : [useless('mailbox', 'remove it')]
  const there = 'remove it, and let the mail server delete old mail of the mailbox'
  return [
    ...(keep === undefined ? [] : [useless('keep', there)]),
    ...(maxSize === undefined ? [] : [useless('maxSize', there)]),
    ...(compress === 'none' ? [] : [useless('compress', 'remove it')]),
  ]
}
