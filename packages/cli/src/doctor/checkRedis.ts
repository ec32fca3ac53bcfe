import type { Config } from '@ecluse/core'
import { askRedis, type RedisFacts } from '@ecluse/state/redis'
import { withRedis } from '../redisConnection.ts'
import { failureOf, warn, well, wrong, type Diagnosis } from './report.ts'

const GOES_ON = 'mail goes on without it'

/** Asks Redis who it is, and whether it takes what instances share. Nothing where none is configured. Never rejects. */
export async function checkRedis(config: Config): Promise<Diagnosis[]> {
  try {
    const found = await withRedis(config, async ({ link, options, where, reason }) => {
      const facts = await askRedis(link, options.prefix)
      if (facts) return [...about(where, facts), ...secretOf(config)]
      const cure = 'start it, or correct where it is and the password: redis'
      return [wrong('redis', `${where}: ${reason() ?? 'no answer'}: ${GOES_ON}`, cure)]
    })
    return found ?? []
  } catch (error) {
    return [wrong('redis', failureOf(error), 'see ecluse check')]
  }
}

function about(where: string, facts: RedisFacts): Diagnosis[] {
  const { version = 'tells no version', latencyMs, refusal, maxBytes = 0, eviction } = facts
  const limit = maxBytes === 0 ? 'no maxmemory' : `maxmemory ${Math.floor(maxBytes / (1024 * 1024))} MiB`
  const known = eviction === undefined ? '' : `, ${limit}, ${eviction}`
  const detail = `${where}: ${version}, answers in ${latencyMs.toFixed(1)} ms${known}`
  if (refusal !== undefined)
    return [wrong('redis', `${detail}: it stores nothing: ${refusal}`, cureOf(refusal))]
  if (maxBytes > 0 && eviction === 'noeviction') {
    const full = `${detail}: once full, it takes nothing new`
    return [warn('redis', full, 'redis.conf: maxmemory-policy volatile-ttl')]
  }
  return [well('redis', detail)]
}

function cureOf(refusal: string): string {
  switch (refusal) {
    case 'NOPERM':
      return 'ACL: the rights of our user, as in deploy/README.md: Several instances, one Redis'
    case 'READONLY':
      return 'it is a replica: name the master, or its Sentinels: redis.sentinels'
    case 'OOM':
      return 'redis.conf: a higher maxmemory, and maxmemory-policy volatile-ttl'
    default:
      return 'see the log of Redis'
  }
}

function secretOf({ redis }: Config): Diagnosis[] {
  if (redis?.secret !== undefined) return []
  const detail = 'redis.secret is not set: who can write to Redis can make a virus clean'
  return [warn('redis secret', detail, 'redis.secret: 16 characters or more, the same for all instances')]
}
