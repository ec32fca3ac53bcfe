// Behind @ecluse/state/redis: the client takes memory that only who uses it shall pay.
export { openRedisLink, type RedisChange, type RedisLink, type RedisState } from './redisLink.ts'
export { createRedisCache, type RedisCacheOptions } from './redisCache.ts'
export { createRedisLedger, type RedisLedgerOptions } from './redisLedger.ts'
export { createSharedLedger } from './sharedLedger.ts'
export { countVerdicts, purgeVerdicts, type VerdictCount, type WantedVerdicts } from './redisVerdicts.ts'
export { askRedis, type RedisFacts } from './redisFacts.ts'
