/** What is under a key: `odd`, something that none of the instances has put there; absent: nothing, or not to be had in time. */
export type SharedValue = Buffer | 'odd' | undefined

/** The level behind memory, that instances share and may lose. No method rejects: what cannot be had is absent. */
export interface SharedCache {
  /** One round trip for all keys. In their order. */
  read(keys: readonly string[]): Promise<readonly SharedValue[]>
  /** Writes in the background, best effort. */
  write(key: string, value: Buffer, ttlMs: number): void
  /** Takes the right to scan for this key, for at most `ttlMs`: 'taken' – it is ours; 'held' – another instance scans; 'unknown' – no answer: scan. */
  claim(key: string, ttlMs: number): Promise<'taken' | 'held' | 'unknown'>
  /** Gives it back, best effort; only ours is given back. */
  unclaim(key: string): void
  /** Whether it answered last: while not, nothing is asked. */
  readonly available: boolean
}
