/** Positions and pieces in the value of a structured field (RFC 5322 section 3.2), unfolded; one pass, no recursion. */

// Their alternatives begin with different characters: no input makes them backtrack.
const QUOTED = /"((?:[^"\\]|\\.)*)"/y
// oxlint-disable-next-line no-control-regex -- refusing control characters is the purpose
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/

/** Whether the value holds a control character, which no grammar of today allows. */
export function holdsControl(text: string): boolean {
  return CONTROL.test(text)
}

/** The place behind blanks and comments (section 3.2.2); where a comment is not closed, one beyond the end of the text. */
export function skipComments(text: string, from: number): number {
  let depth = 0
  let at = from
  for (; at < text.length; at++) {
    const char = text[at]
    if (char === '(') depth++
    else if (depth === 0 && char !== ' ' && char !== '\t') return at
    else if (char === ')') depth--
    else if (char === '\\' && depth > 0) at++
  }
  // Beyond it nothing matches, and it is not the end either.
  return depth === 0 ? Math.max(from, at) : text.length + 1
}

/** The match of a sticky pattern at that place; absent: none. */
export function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(text) ?? undefined
}

/** The place behind the quoted string that begins there (section 3.2.4); absent: none, or it is not closed. */
export function quotedEnd(text: string, at: number): number | undefined {
  return matchAt(QUOTED, text, at) && QUOTED.lastIndex
}
