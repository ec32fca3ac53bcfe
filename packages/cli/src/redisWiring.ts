import {
  FilterError,
  parseRedisUrl,
  type Address,
  type Config,
  type RedisConfig,
  type RedisUrl,
} from '@ecluse/core'
import type { HostPort, RedisOptions, RedisPlace } from '@ecluse/state'

/** Reads a file that the configuration names. @throws FilterError E_CONFIG */
export type ReadConfigured = (path: string, key: string) => Promise<Buffer>

/**
 * How the configured Redis is spoken to; absent: there is none.
 *
 * @throws FilterError E_CONFIG when a file that it names cannot be read
 */
export async function redisOptions(
  { redis }: Pick<Config, 'redis'>,
  read: ReadConfigured,
): Promise<RedisOptions | undefined> {
  if (!redis) return undefined
  const url = redis.url === undefined ? undefined : parseRedisUrl(redis.url)
  const tls = url?.tls === true || redis.tls ? await tlsOf(redis, read) : undefined
  return {
    place: placeOf(redis, url?.address),
    ...loginOf(redis, url),
    ...(tls && { tls }),
    prefix: redis.prefix,
    ...(redis.secret !== undefined && { secret: redis.secret }),
    timeoutMs: redis.timeout,
  }
}

function loginOf(
  redis: RedisConfig,
  url: RedisUrl | undefined,
): Pick<RedisOptions, 'username' | 'password' | 'database'> {
  const username = redis.username ?? url?.username
  const password = redis.password ?? url?.password
  const database = redis.database ?? url?.database
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(database !== undefined && { database }),
  }
}

async function tlsOf({ tls }: RedisConfig, read: ReadConfigured): Promise<NonNullable<RedisOptions['tls']>> {
  return {
    ...(tls?.ca !== undefined && { ca: await read(tls.ca, 'redis.tls.ca') }),
    ...(tls?.servername !== undefined && { servername: tls.servername }),
  }
}

function placeOf(
  { sentinels, sentinelName, cluster }: RedisConfig,
  address: Address | undefined,
): RedisPlace {
  if (address) return { kind: 'standalone', address }
  if (cluster) return { kind: 'cluster', nodes: cluster.map(hostPort) }
  if (sentinels && sentinelName !== undefined)
    return { kind: 'sentinel', sentinels: sentinels.map(hostPort), name: sentinelName }
  throw new TypeError('redis: passed the schema, and is nowhere')
}

function hostPort(address: Address): HostPort {
  if ('host' in address) return address
  throw new FilterError('E_CONFIG', 'redis: expected host:port')
}
