/*
 * Places in the life of a message where a test of faults makes the process end, or throws. Nothing happens there unless
 * a hook is set, which only the command line does, and only for tests.
 */

/** The places, in the order in which a message comes to them. The word before the first hyphen is the short name. */
export const FAILPOINTS = [
  'K1-content-begins',
  'K2-content-midway',
  'K3-dot-seen',
  'K4-spooled',
  'K7-scanner-connecting',
  'K8-scanner-reading',
  'K9-verdict-known',
  'K10-verdict-remembered',
  'K11-quarantine-written',
  'K12-quarantine-renamed',
  'K13-envelope-answered',
  'K14-content-partly-sent',
  'K15-dot-sent',
  'K16-done-not-recorded',
  'K16b-recorded',
  'K18-replies-sent',
] as const
export type Failpoint = (typeof FAILPOINTS)[number]

let hook: ((point: Failpoint) => void) | undefined

/**
 * Says that a message is at this place.
 *
 * @throws what the hook throws; without a hook it does nothing
 */
export function failpoint(point: Failpoint): void {
  if (hook !== undefined) hook(point)
}

/** Sets what happens at every failpoint of this process; absent: nothing, as at the start. */
export function hookFailpoints(next?: (point: Failpoint) => void): void {
  hook = next
}
