import type { Envelope } from './envelope.ts'
import type { LocalDomains } from './policy.ts'

/** amavisd's words for where a message comes from and goes to. */
export type Direction = 'inbound' | 'outbound' | 'internal' | 'open-relay'

/**
 * Whether a message is our own: from one of our networks. Without a client address it was made on this host, by
 * sendmail(1) or by a local program.
 */
export function isOriginating({ client }: Envelope, isOwn: (address: string) => boolean): boolean {
  return client.address === undefined || isOwn(client.address)
}

/**
 * amavisd's four directions: mail of our own clients goes inside (internal) or also outside (outbound); mail of
 * others comes in (inbound), or should not have been taken by Postfix at all (open-relay).
 */
export function directionOf(
  originating: boolean,
  { recipients }: Envelope,
  isLocal: LocalDomains,
): Direction {
  const local = recipients.map(({ address }) => isLocal(address))
  if (originating) return local.every(Boolean) ? 'internal' : 'outbound'
  return local.some(Boolean) ? 'inbound' : 'open-relay'
}
