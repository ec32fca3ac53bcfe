import { FilterError, isIpAddress, parseNetwork, type Address } from '@ecluse/core'
import { networkTest } from '@ecluse/mail'
import { wordsOf } from './postfixConfig.ts'

/** Whether an address is in a list. `unknown`: it has names or tables, which only Postfix itself can look up. */
export type Membership = 'in' | 'out' | 'unknown'

/**
 * Whether Postfix would find an address in a list such as mynetworks (postconf(5)): the first that fits decides,
 * `!` in front says no.
 */
export function inNetworks(list: string | undefined, address: string): Membership {
  let uncertain = false
  for (const word of wordsOf(list)) {
    const network = readNetwork(word.replace(/^!/, ''))
    if (network === undefined) uncertain = true
    else if (networkTest([network])(address)) return word.startsWith('!') ? 'out' : 'in'
  }
  return uncertain ? 'unknown' : 'out'
}

function readNetwork(word: string): string | undefined {
  // Postfix writes [::1]/128 and [::1].
  const plain = word.replace(/^\[([^\]]+)\]/, '$1')
  // It takes host bits in a network of one address only.
  try {
    return parseNetwork(plain)
  } catch (error) {
    if (error instanceof FilterError) return undefined
    throw error
  }
}

/** The addresses that Postfix may see when we connect to 10025; empty: a Unix socket, or a host known by name only. */
export function ourAddresses(address: Address): readonly string[] {
  if ('path' in address) return []
  if (address.host === 'localhost') return ['127.0.0.1', '::1']
  // To an address of this machine we come from the same one; from another machine nobody knows.
  return isIpAddress(address.host) ? [address.host] : []
}

/** The worst of all addresses: `out` before `unknown` before `in`; no addresses: `unknown`. */
export function allInNetworks(list: string | undefined, addresses: readonly string[]): Membership {
  if (addresses.length === 0) return 'unknown'
  const found = addresses.map((address) => inNetworks(list, address))
  if (found.includes('out')) return 'out'
  return found.includes('unknown') ? 'unknown' : 'in'
}
