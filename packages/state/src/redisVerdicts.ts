import { FilterError } from '@ecluse/core'
import type { RedisReply } from './redisClient.ts'
import { verdictName, verdictPattern, type VerdictName } from './redisKeys.ts'
import type { RedisLink } from './redisLink.ts'

/** Which verdicts: those of a scanner, of a message, of both; nothing: all. */
export type WantedVerdicts = Partial<Pick<VerdictName, 'scanner' | 'digest'>>

/** Verdicts of one scanner with one version of its engine and signatures. */
export interface VerdictCount extends Pick<VerdictName, 'scanner' | 'version'> {
  readonly entries: number
}

/** Keys that Redis looks at for one question: other clients wait no longer than that. */
const KEYS_AT_ONCE = 500
/** Older versions go by themselves; more than this is somebody else's, under our prefix. */
const MAX_COUNTS = 10_000

/**
 * Counts verdicts in Redis, by scanner and version, in their order. It goes through all keys bit by bit, so what comes or
 * goes meanwhile may be counted or not, and one or the other twice.
 *
 * @throws FilterError E_REDIS when Redis does not answer
 */
export async function countVerdicts(
  link: RedisLink,
  prefix: string,
  wanted: WantedVerdicts,
): Promise<readonly VerdictCount[]> {
  const counts = new Map<string, VerdictCount>()
  for await (const { keys } of scan(link, prefix, wanted)) {
    for (const key of keys) {
      const { scanner = '', version = '' } = verdictName(prefix, key) ?? {}
      const name = `${scanner} ${version}`
      const entries = (counts.get(name)?.entries ?? 0) + 1
      if (entries > 1 || counts.size < MAX_COUNTS) counts.set(name, { scanner, version, entries })
    }
  }
  return [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, count]) => count)
}

/**
 * Removes verdicts from Redis. Instances keep what they have in memory until it expires.
 *
 * @returns how many there were
 * @throws FilterError E_REDIS when Redis does not answer, or refuses; some may be gone then
 */
export async function purgeVerdicts(
  link: RedisLink,
  prefix: string,
  wanted: WantedVerdicts,
): Promise<number> {
  let removed = 0
  for await (const { keys, node } of scan(link, prefix, wanted)) {
    if (keys.length === 0) continue
    // One command each: the keys of a node of a Cluster are in many slots.
    const replies = await link.ask(
      keys.map((key) => ['UNLINK', key]),
      'write',
      node,
    )
    for (const reply of replies ?? noAnswer()) {
      if (typeof reply !== 'number') throw new FilterError('E_REDIS', 'redis refuses to remove a key')
      removed += reply
    }
  }
  return removed
}

/** Keys of verdicts, some at a time. */
async function* scan(
  link: RedisLink,
  prefix: string,
  wanted: WantedVerdicts,
): AsyncGenerator<{ readonly keys: readonly string[]; readonly node: number }> {
  const pattern = verdictPattern(prefix, wanted)
  if (link.nodes === 0) noAnswer()
  for (let node = 0; node < link.nodes; node++) {
    let cursor = '0'
    do {
      const replies = await link.ask(
        [['SCAN', cursor, 'MATCH', pattern, 'COUNT', KEYS_AT_ONCE]],
        'read',
        node,
      )
      const page = pageOf(replies?.[0]) ?? noAnswer()
      cursor = page.cursor
      yield { keys: page.keys.filter((key) => isWanted(prefix, key, wanted)), node }
    } while (cursor !== '0')
  }
}

/** The pattern also finds claims, and parts that look like the one that is looked for. */
function isWanted(prefix: string, key: string, { scanner, digest }: WantedVerdicts): boolean {
  const name = verdictName(prefix, key)
  if (!name) return false
  return (scanner ?? name.scanner) === name.scanner && (digest ?? name.digest) === name.digest
}

function pageOf(
  reply: RedisReply | undefined,
): { readonly cursor: string; readonly keys: readonly string[] } | undefined {
  if (!Array.isArray(reply)) return undefined
  const [cursor, keys] = reply as readonly RedisReply[]
  if (!Buffer.isBuffer(cursor) || !Array.isArray(keys)) return undefined
  const texts = (keys as readonly RedisReply[]).flatMap((key) =>
    Buffer.isBuffer(key) ? [key.toString()] : [],
  )
  return { cursor: cursor.toString('latin1'), keys: texts }
}

function noAnswer(): never {
  throw new FilterError('E_REDIS', 'redis does not answer', { hint: 'see ecluse doctor' })
}
