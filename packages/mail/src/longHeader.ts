/** Longest name that is waited for; what is longer is taken for a field. */
const MOST_NAME_OCTETS = 64 * 1024

const LINE_END = /\r\n|[\r\n]/g
const NAME_END = /[:\r\n]/g
const FIELD_START = /^[\x21-\x39\x3b-\x7e]+[ \t]*:$/

/**
 * Spoils the names of fields that must not pass, in a header that is too long to be held: their first character becomes
 * `_`, so that no byte moves, and the size is known before. What ends the header is what ends it for `findHeaderEnd`;
 * behind that every byte stays as it is.
 *
 * Give it all bytes in order, from the start of a field on, then call {@link end}.
 */
export class FieldSpoiler {
  readonly #spoils: RegExp | undefined
  /** What cannot be judged yet, latin1: the start of a line, or a CR that may be half of a line end. */
  #held = ''
  #place: 'start' | 'line' | 'body' = 'start'

  /** @param spoils matches a field that must not pass, up to its colon; absent: all may pass */
  constructor(spoils: RegExp | undefined) {
    this.#spoils = spoils
  }

  /** What can be judged of these bytes and of those before; maybe nothing. */
  push(chunk: Buffer): Buffer {
    if (this.#place === 'body') return chunk
    const text = this.#held + chunk.toString('latin1')
    let out = ''
    let at = 0
    for (let piece = this.#next(text, at); piece !== undefined; piece = this.#next(text, at)) {
      out += piece
      at += piece.length
    }
    this.#held = text.slice(at)
    return Buffer.from(out, 'latin1')
  }

  /** What was held back. */
  end(): Buffer {
    const rest = this.#held
    this.#held = ''
    return Buffer.from(rest, 'latin1')
  }

  /** The next piece as it goes out, of the same length as it came; absent: more has to come. */
  #next(text: string, at: number): string | undefined {
    if (at === text.length) return undefined
    if (this.#place === 'line') return this.#restOfLine(text, at)
    if (this.#place === 'start') return this.#startOfLine(text, at)
    return text.slice(at)
  }

  #restOfLine(text: string, at: number): string | undefined {
    LINE_END.lastIndex = at
    const [end] = LINE_END.exec(text) ?? []
    if (end === undefined) return text.slice(at)
    const behind = LINE_END.lastIndex
    if (end === '\r' && behind === text.length) return behind - 1 > at ? text.slice(at, -1) : undefined
    this.#place = 'start'
    return text.slice(at, behind)
  }

  #startOfLine(text: string, at: number): string | undefined {
    // A folded line: it goes on with the field above, whose name has been judged.
    if (text[at] === ' ' || text[at] === '\t') return this.#enter('line', text.slice(at, at + 1))
    NAME_END.lastIndex = at
    const found = NAME_END.exec(text)
    const start = text.slice(at, found ? NAME_END.lastIndex : undefined)
    if (!found && start.length <= MOST_NAME_OCTETS) return undefined
    const field = found ? start : `${start}:`
    if (found && !FIELD_START.test(field)) return this.#enter('body', start)
    return this.#enter('line', this.#spoils?.test(field) ? `_${start.slice(1)}` : start)
  }

  #enter(place: 'line' | 'body', piece: string): string {
    this.#place = place
    return piece
  }
}
