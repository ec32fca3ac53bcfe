import { FilterError } from './errors.ts'

/** Where something listens: TCP or a Unix socket. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string }

/**
 * Reads `host:port`, `[v6]:port` or `unix:PATH`.
 *
 * @throws FilterError E_CONFIG when the text is none of these.
 */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:')) {
    const path = text.slice(5)
    if (!path.startsWith('/') || path.includes('\0')) throw badAddress(text)
    return { path }
  }
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3])
  if (host === undefined || port > 65_535) throw badAddress(text)
  return { host, port }
}

/** The inverse of {@link parseAddress}. */
export function formatAddress(address: Address): string {
  if ('path' in address) return `unix:${address.path}`
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
}

function badAddress(text: string): FilterError {
  return new FilterError('E_CONFIG', `${JSON.stringify(text)}: expected host:port, [v6]:port or unix:/PATH`)
}
