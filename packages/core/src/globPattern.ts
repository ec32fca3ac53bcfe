import { FilterError } from './errors.ts'

/** Characters of one glob. */
export const GLOB_LENGTH = 256

/** A compiled glob: answers for a whole name, case-sensitive. Never throws. */
export type Glob = (name: string) => boolean

/**
 * Compiles a pattern for names of findings such as `Heuristics.*`: `*` is any characters or none, `?` is one UTF-16
 * unit, everything else stands for itself; nothing escapes a star. At most {@link GLOB_LENGTH} comparisons for each
 * character of the name.
 *
 * @throws FilterError E_CONFIG when it is empty, too long, or has control characters.
 */
export function globPattern(text: string): Glob {
  // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
  if (text === '' || text.length > GLOB_LENGTH || /[\x00-\x1f\x7f]/.test(text)) {
    throw new FilterError(
      'E_CONFIG',
      `expected a name such as Heuristics.*, of at most ${GLOB_LENGTH} characters`,
    )
  }
  if (!/[*?]/.test(text)) return (name) => name === text
  return (name) => matches(text, name)
}

/** Only the last star is tried again: an earlier one can gain nothing by taking more. */
function matches(glob: string, name: string): boolean {
  let at = 0
  let from = 0
  let star = -1
  let resume = 0
  while (from < name.length) {
    const wanted = glob[at]
    if (wanted === '*') {
      star = at++
      resume = from
    } else if (wanted === '?' || (wanted !== undefined && wanted === name[from])) {
      at++
      from++
    } else if (star >= 0) {
      at = star + 1
      from = ++resume
    } else {
      return false
    }
  }
  while (glob[at] === '*') at++
  return at === glob.length
}
