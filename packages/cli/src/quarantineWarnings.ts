import { parsePostgresUrl, QUARANTINE_DIRECTORY, type Config } from '@ecluse/core'
import type { Warning } from './warning.ts'

/** Keys that only the named stores look at. */
const USED_BY: Readonly<Record<string, readonly Config['quarantine']['store'][]>> = {
  url: ['postgres'],
  mailbox: ['mailbox'],
  directory: ['files'],
  compress: ['files'],
  keep: ['files', 'postgres'],
  maxSize: ['files', 'postgres'],
  rescan: ['files', 'postgres'],
}

/** What of `quarantine` changes nothing, or lets others read mail. */
export function quarantineWarnings({ quarantine }: Config): Warning[] {
  const { store, url, mailbox, directory, compress, keep, maxSize, rescan } = quarantine
  const given = {
    url,
    mailbox,
    directory: directory === QUARANTINE_DIRECTORY ? undefined : directory,
    compress: compress === 'none' ? undefined : compress,
    keep,
    maxSize,
    rescan: rescan === 'none' ? undefined : rescan,
  }
  const useless = Object.entries(given).filter(
    ([key, value]) => value !== undefined && USED_BY[key]?.includes(store) === false,
  )
  return [
    ...useless.map(([key]) => uselessWarning(key, store)),
    ...(store === 'postgres' && url !== undefined ? urlWarnings(url) : []),
  ]
}

function uselessWarning(key: string, store: string): Warning {
  const isAge = key === 'keep' || key === 'maxSize'
  return {
    path: ['quarantine', key],
    message: `has no use with store: ${store}`,
    hint: isAge ? 'remove it, and let the mail server delete old mail of the mailbox' : 'remove it',
  }
}

function urlWarnings(url: string): Warning[] {
  const place = parsePostgresUrl(url)
  if (typeof place === 'string') return []
  const path = ['quarantine', 'url']
  const hint = 'write ?sslmode=verify-full behind the database'
  const isHere = place.host.startsWith('/') || /^(?:127\.|::1$|localhost$)/.test(place.host)
  if (place.tls?.verify === 'nothing') {
    return [{ path, message: 'with sslmode=require anybody may pretend to be the server', hint }]
  }
  if (place.tls || isHere) return []
  return [{ path, message: 'has no TLS: who is in between reads the mail that is kept', hint }]
}
