import type { Config } from '@ecluse/core'
import type { Warning } from './warning.ts'

/** A page that nobody finds the way to, or that others can listen at. */
export function consoleWarnings({ console: page, quarantine, notices }: Config): Warning[] {
  if (!page) {
    if (quarantine.secret === undefined) return []
    const message = 'has no use without console: no links are made'
    return [{ path: ['quarantine', 'secret'], message, hint: 'add console: { url: … }, or remove it' }]
  }
  const warnings: Warning[] = []
  if (!notices.recipients) {
    const message = 'nobody gets a link to it: notices.recipients is false'
    warnings.push({ path: ['console'], message, hint: 'write notices: { recipients: true }' })
  }
  if (page.url.startsWith('http:')) {
    const message = 'without TLS, whoever listens can release mail'
    warnings.push({ path: ['console', 'url'], message, hint: 'use https' })
  }
  return warnings
}
