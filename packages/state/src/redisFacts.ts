import { RedisRefusal, type RedisReply } from './redisClient.ts'
import type { RedisLink } from './redisLink.ts'

/** What a Redis tells of itself, and may be done with it. */
export interface RedisFacts {
  /** `Redis 7.0.15`, `Valkey 8.0.1`; absent: it does not tell us. */
  readonly version?: string
  readonly latencyMs: number
  /** Of all masters. */
  readonly usedBytes?: number
  /** Of all masters; 0: no limit. */
  readonly maxBytes?: number
  /** `maxmemory-policy`. */
  readonly eviction?: string
  /** The first word of its refusal to store something, or to run a script; absent: it does both. */
  readonly refusal?: string
}

/** Asks who it is, and stores something that goes at once. Absent: it does not answer. */
export async function askRedis(link: RedisLink, prefix: string): Promise<RedisFacts | undefined> {
  const started = performance.now()
  if ((await link.ask([['PING']], 'read')) === undefined) return undefined
  const latencyMs = performance.now() - started
  const infos: string[] = []
  for (let node = 0; node < link.nodes; node++) {
    const [info] = (await link.ask([['INFO']], 'read', node)) ?? []
    if (Buffer.isBuffer(info)) infos.push(info.toString('latin1'))
  }
  const key = `${prefix}:probe`
  const stored = await link.ask(
    [
      ['SET', key, '', 'PX', 1],
      ['EVAL', "return redis.call('DEL', KEYS[1])", 1, key],
    ],
    'write',
  )
  const refusal = refusalOf(stored)
  return { latencyMs, ...factsOf(infos), ...(refusal !== undefined && { refusal }) }
}

function refusalOf(replies: readonly RedisReply[] | undefined): string | undefined {
  if (!replies) return 'no answer'
  const refusal = replies.find((reply): reply is RedisRefusal => reply instanceof RedisRefusal)
  return refusal?.code
}

function factsOf(infos: readonly string[]): Omit<RedisFacts, 'latencyMs' | 'refusal'> {
  const [first] = infos
  if (first === undefined) return {}
  const sum = (name: string): number =>
    infos.reduce((total, info) => total + Number(fieldOf(info, name) ?? Number.NaN), 0)
  const valkey = fieldOf(first, 'valkey_version')
  const redis = fieldOf(first, 'redis_version')
  const version = valkey === undefined ? redis && `Redis ${redis}` : `Valkey ${valkey}`
  const eviction = fieldOf(first, 'maxmemory_policy')
  const [usedBytes, maxBytes] = [sum('used_memory'), sum('maxmemory')]
  return {
    ...(version !== undefined && { version }),
    ...(Number.isSafeInteger(usedBytes) && { usedBytes }),
    ...(Number.isSafeInteger(maxBytes) && { maxBytes }),
    ...(eviction !== undefined && { eviction }),
  }
}

function fieldOf(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:([\\w.-]{1,60})\\r?$`, 'm').exec(info)?.[1]
}
