import type { SharedCache } from '../src/sharedCache.ts'

/** A level that is shared within one process, without any clock: what is written stays. */
export interface MemoryShared extends SharedCache {
  available: boolean
  readonly reads: number
  readonly size: number
  ttlOf(key: string): number | undefined
}

export function memoryShared(): MemoryShared {
  const values = new Map<string, { readonly value: Buffer; readonly ttlMs: number }>()
  const claims = new Set<string>()
  let reads = 0
  return {
    available: true,
    get reads() {
      return reads
    },
    get size() {
      return values.size
    },
    ttlOf: (key) => values.get(key)?.ttlMs,
    async read(keys) {
      reads++
      return keys.map((key) => values.get(key)?.value)
    },
    write: (key, value, ttlMs) => void values.set(key, { value, ttlMs }),
    async claim(key) {
      if (claims.has(key)) return 'held'
      claims.add(key)
      return 'taken'
    },
    unclaim: (key) => void claims.delete(key),
  }
}
