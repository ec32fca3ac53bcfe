import { formatAddress, type Config, type ListenConfig } from '@ecluse/core'
import { networkTest } from '@ecluse/mail'
import type { Warning } from './warning.ts'

/** Proxies that are everybody, and those that nobody can be, of each listener. */
export function proxyWarnings(listen: Config['listen']): Warning[] {
  return listen.flatMap((listener, index) =>
    listener.proxies.flatMap((network, place): Warning[] => {
      const warning = warningOf(listener, network)
      return warning ? [{ path: ['listen', index, 'proxies', place], ...warning }] : []
    }),
  )
}

function warningOf(
  { address, tls }: ListenConfig,
  network: string,
): { readonly message: string; readonly hint: string } | undefined {
  if (network.endsWith('/0') && !tls?.requireClientCertificate) {
    const message = 'everybody may say to be any client, and so be one that is trusted'
    return { message, hint: 'name the address of the balancer' }
  }
  if ('port' in address && isLoopback(address.host) && !touchesLoopback(network)) {
    const message = `can never match: only this machine reaches ${formatAddress(address)}`
    return { message, hint: 'remove it, or let the listener have an address that the balancer reaches' }
  }
  return undefined
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function touchesLoopback(network: string): boolean {
  const holds = networkTest([network])
  return isLoopback(network.split('/', 1)[0] ?? '') || holds('127.0.0.1') || holds('::1')
}
