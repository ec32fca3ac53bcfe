import { FilterError, type Config } from '@ecluse/core'
import type { HostPort, RedisOptions } from '@ecluse/state'
import { openRedisLink, type RedisLink } from '@ecluse/state/redis'
import { redisOptions } from './redisWiring.ts'
import { readConfigured } from './wiring.ts'

/** For people, who look at one command: not so soon as for mail. */
const PATIENT_MS = 5000

/** A connection for one command. */
export interface RedisConnection {
  readonly link: RedisLink
  readonly options: RedisOptions
  /** Where it is, without the password. */
  readonly where: string
  /** Why it is not there, in a word or two; absent: it is. */
  readonly reason: () => string | undefined
}

/**
 * Connects as the configuration says, and closes when `work` is done.
 *
 * @returns absent: no Redis is configured
 * @throws FilterError E_CONFIG; what `work` throws
 */
export async function withRedis<T>(
  config: Pick<Config, 'redis'>,
  work: (redis: RedisConnection) => Promise<T>,
): Promise<T | undefined> {
  const configured = await redisOptions(config, readConfigured)
  if (!configured) return undefined
  const options = { ...configured, timeoutMs: Math.max(PATIENT_MS, configured.timeoutMs) }
  let reason: string | undefined
  const link = openRedisLink(options, (change) => {
    ;({ reason } = change)
  })
  try {
    await link.opened()
    return await work({ link, options, where: describePlace(options), reason: () => reason })
  } finally {
    link.close()
  }
}

/** @throws FilterError E_REDIS where it is not there */
export function assertAnswers({ link, where, reason }: RedisConnection): void {
  if (link.available) return
  throw new FilterError('E_REDIS', `redis: ${where}: ${reason() ?? 'no answer'}`, {
    hint: 'start it, or correct where it is: redis',
  })
}

function describePlace({ place }: RedisOptions): string {
  switch (place.kind) {
    case 'standalone':
      return 'path' in place.address ? `unix:${place.address.path}` : listed([place.address])
    case 'sentinel':
      return `${place.name} of the Sentinels ${listed(place.sentinels)}`
    case 'cluster':
      return `the Cluster of ${listed(place.nodes)}`
  }
}

function listed(addresses: readonly HostPort[]): string {
  return addresses.map(({ host, port }) => `${host}:${port}`).join(', ')
}
