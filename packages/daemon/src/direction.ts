import type { Envelope, LocalDomains } from '@ecluse/core'
import { networkTest } from '@ecluse/mail'
import type { Direction } from './record.ts'

/**
 * amavisd's four directions: mail of our own clients goes inside (internal) or also outside (outbound); mail of
 * others comes in (inbound), or should not have been taken by Postfix at all (open-relay).
 */
export function directionBy(
  networks: readonly string[],
  isLocal: LocalDomains,
): (envelope: Envelope) => Direction {
  const isOwn = networkTest(networks)
  return ({ client, recipients }) => {
    // Without a client address the message was made on this host: by sendmail(1), or by a local program.
    const originating = client.address === undefined || isOwn(client.address)
    const local = recipients.map(({ address }) => isLocal(address))
    if (originating) return local.every(Boolean) ? 'internal' : 'outbound'
    return local.some(Boolean) ? 'inbound' : 'open-relay'
  }
}
