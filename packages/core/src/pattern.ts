// The one module that knows re2js. What is relied on, and tested: `test` reads each character of the text at most four
// times, and for each works on at most `programSize` instructions; what is no pattern throws a RE2JSException.
import { RE2JS, RE2JSException } from 're2js'
import { FilterError } from './errors.ts'
import { printable } from './verdict.ts'

/** Characters of one pattern. */
export const PATTERN_LENGTH = 256
/**
 * Instructions of one compiled pattern. Measured: the worst patterns cost 55 ns for each instruction and character, so
 * that 200 on {@link PATTERN_TEXT} characters take 6 ms.
 */
export const PATTERN_SIZE = 200
/**
 * Instructions of all patterns of a pool, some 40 as they are commonly written. Nothing else has its turn while one
 * address is looked up: 1,000 of the worst kind take 28 ms for {@link PATTERN_TEXT} characters, common ones 10 µs for
 * a common address.
 */
export const POOL_SIZE = 1000
/**
 * Characters of a text that patterns look at, from its beginning; an address of RFC 5321 has 320, and listeners take
 * 2,048. What stands behind is not seen, and `$` is true at the cut: whoever wants that could as well have sent the
 * shorter text.
 */
export const PATTERN_TEXT = 512

const BACKREFERENCE = /\\[1-9]|\\k<|\(\?P=/
const LOOKAROUND = /\(\?<?[=!]/

/** A compiled regular expression. Its time is linear in the text, whatever the pattern. */
export interface Pattern {
  /** Without slashes, as it was written. */
  readonly source: string
  readonly ignoreCase: boolean
  /** Instructions of the compiled program. */
  readonly size: number
  /** Whether it matches anywhere in the first {@link PATTERN_TEXT} characters. Never throws. */
  readonly test: (text: string) => boolean
}

/**
 * Compiles a regular expression in RE2's syntax: Perl's, without backreferences and lookaround.
 *
 * @throws FilterError E_CONFIG when it is none, longer than {@link PATTERN_LENGTH} or larger than {@link PATTERN_SIZE}.
 */
export function compilePattern(source: string, { ignoreCase = false } = {}): Pattern {
  if (source === '') {
    throw new FilterError('E_CONFIG', 'expected a regular expression that is not empty', {
      hint: 'write . for everybody',
    })
  }
  if (source.length > PATTERN_LENGTH) {
    throw new FilterError(
      'E_CONFIG',
      `expected a regular expression of at most ${PATTERN_LENGTH} characters`,
      {
        hint: 'write several entries',
      },
    )
  }
  const compiled = compile(source, ignoreCase)
  const size = compiled.programSize()
  if (size > PATTERN_SIZE) {
    throw new FilterError(
      'E_CONFIG',
      `expected a regular expression of at most ${PATTERN_SIZE} steps when compiled, got ${size}`,
      { hint: 'lower its repeat counts, or write several entries' },
    )
  }
  // Several lists ask about one address in a row.
  const last = { text: '', answer: compiled.test('') }
  const test = (text: string): boolean => {
    if (text !== last.text) {
      last.answer = compiled.test(text.slice(0, PATTERN_TEXT))
      last.text = text
    }
    return last.answer
  }
  return { source, ignoreCase, size, test }
}

function compile(source: string, ignoreCase: boolean): RE2JS {
  try {
    return RE2JS.compile(source, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0)
  } catch (cause) {
    if (!(cause instanceof RE2JSException)) throw cause
    const why = cause.message.replace(/^error parsing regexp: /, '')
    throw new FilterError('E_CONFIG', `expected a regular expression, got one with ${printable(why, 100)}`, {
      cause,
      ...hintFor(source),
    })
  }
}

function hintFor(source: string): { hint?: string } {
  if (LOOKAROUND.test(source))
    return { hint: 'there is no lookahead and no lookbehind: write several entries' }
  if (BACKREFERENCE.test(source)) return { hint: 'there are no backreferences: write out what they repeat' }
  if (/\{\d/.test(source)) return { hint: 'lower its repeat counts, or write several entries' }
  return {}
}

/** Patterns that may all be asked about one text: compiled once each, and bounded together. */
export interface PatternPool {
  /**
   * The pattern, the same object for the same source and case.
   *
   * @throws FilterError E_CONFIG as {@link compilePattern}, or when all together exceed {@link POOL_SIZE}.
   */
  readonly compile: (source: string, options?: { readonly ignoreCase?: boolean }) => Pattern
}

/** An empty pool; one for all lists of a configuration. */
export function patternPool(): PatternPool {
  const known = new Map<string, Pattern>()
  let total = 0
  return {
    compile(source, { ignoreCase = false } = {}) {
      const name = `${ignoreCase ? 'i' : ''}/${source}`
      const old = known.get(name)
      if (old !== undefined) return old
      const pattern = compilePattern(source, { ignoreCase })
      if (total + pattern.size > POOL_SIZE) {
        throw new FilterError(
          'E_CONFIG',
          `expected regular expressions of at most ${POOL_SIZE} steps in all when compiled`,
          { hint: 'write addresses and domains in place of regular expressions' },
        )
      }
      total += pattern.size
      known.set(name, pattern)
      return pattern
    },
  }
}
