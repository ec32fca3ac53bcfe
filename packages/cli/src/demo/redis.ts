import { randomBytes } from 'node:crypto'
import type { RedisOptions } from '@ecluse/state'
import { askRedis, openRedisLink } from '@ecluse/state/redis'

/** A Redis that answers on this machine. */
export interface FoundRedis {
  readonly options: RedisOptions
  readonly where: string
  readonly version: string
}

const PLACE = { host: '127.0.0.1', port: 6379 }
const ANSWER_MS = 1000

/** Asks at the usual place. What the demonstration keeps there has a prefix of its own, anew each time, and expires. */
export async function findRedis(): Promise<FoundRedis | undefined> {
  const options: RedisOptions = {
    place: { kind: 'standalone', address: PLACE },
    prefix: `ecluse-demo-${randomBytes(4).toString('hex')}`,
    timeoutMs: ANSWER_MS,
  }
  const link = openRedisLink(options, () => undefined, { connectMs: ANSWER_MS })
  try {
    await link.opened()
    const facts = await askRedis(link, options.prefix)
    if (!facts || facts.refusal !== undefined) return undefined
    return { options, where: `${PLACE.host}:${PLACE.port}`, version: facts.version ?? 'unknown version' }
  } finally {
    link.close()
  }
}
