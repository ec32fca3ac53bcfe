import { parsePostgresUrl, QUARANTINE_DIRECTORY, type Config } from '@ecluse/core'
import type { Warning } from './warning.ts'

/** What of `quarantine` changes nothing, or lets others read mail. */
export function quarantineWarnings({ quarantine }: Config): Warning[] {
  const { store, url, directory, compress } = quarantine
  const useless = (key: string): Warning => ({
    path: ['quarantine', key],
    message: `has no use with store: ${store}`,
    hint: 'remove it',
  })
  if (store !== 'postgres') return url === undefined ? [] : [useless('url')]
  return [
    ...(directory === QUARANTINE_DIRECTORY ? [] : [useless('directory')]),
    ...(compress === 'none' ? [] : [useless('compress')]),
    ...(url === undefined ? [] : urlWarnings(url)),
  ]
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
