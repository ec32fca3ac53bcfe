import { isOwnMailbox, localDomains, type Config } from '@ecluse/core'
import type { Warning } from './warning.ts'

/** Who is told by mail, where that is probably not meant. */
export function noticeWarnings({ notices: { admin }, localDomains: entries }: Config): Warning[] {
  if (admin === undefined || isOwnMailbox(admin, localDomains(entries))) return []
  const message = 'is not in localDomains: subjects and addresses of your mail go there'
  return [{ path: ['notices', 'admin'], message, hint: 'use an address of your own' }]
}
