import type { Category } from '@ecluse/core'

/** How long messages are kept, and how much of them. */
export interface Retention {
  /** Milliseconds for each category; one that is absent: for ever. */
  readonly keepMs: Readonly<Partial<Record<Category, number>>>
  /** Bytes as stored, all together; absent: no limit. */
  readonly maxBytes?: number
}

/** What decides when a message goes. */
export interface Perishable {
  readonly category: Category
  readonly storedAtMs: number
  readonly fileBytes: number
  /** Whether nobody waits for it any more. */
  readonly settled: boolean
}

/** Whether its time is over. */
export function isOverdue({ category, storedAtMs }: Perishable, { keepMs }: Retention, now: Date): boolean {
  const keep = keepMs[category]
  return keep !== undefined && storedAtMs < now.getTime() - keep
}

/**
 * In which order messages give way where there are too many; 0 first, the oldest of the same rank first. What nobody
 * waits for any more; then spam, which is most of it and least missed; then the rest, where the mistakes of filters and
 * the proofs are.
 */
export function sacrificeRank({ category, settled }: Pick<Perishable, 'category' | 'settled'>): 0 | 1 | 2 {
  if (settled) return 0
  return category === 'spam' || category === 'spammy' ? 1 : 2
}

/**
 * Orders for expiry: what is overdue first, then by {@link sacrificeRank}, then the oldest.
 */
export function compareForExpiry(
  a: Perishable & { overdue: boolean },
  b: Perishable & { overdue: boolean },
): number {
  if (a.overdue !== b.overdue) return a.overdue ? -1 : 1
  const ranks = a.overdue ? 0 : sacrificeRank(a) - sacrificeRank(b)
  return ranks || a.storedAtMs - b.storedAtMs
}
