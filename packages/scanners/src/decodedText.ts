/** Turns text that comes in pieces into decoded text, in pieces of its own; latin1, one character for each byte. */
export interface Decoder {
  push(piece: string): string
  /** What was held back at the end. */
  end(): string
}

/** Longer escapes and soft line breaks (blanks before the line end) are none. */
const MAX_ESCAPE = 80

/** RFC 2045 section 6.7, on any text: what is not quoted-printable comes out as it is. */
export function quotedPrintable(): Decoder {
  let held = ''
  return {
    push(piece) {
      const text = held + piece
      const escape = text.lastIndexOf('=')
      const unfinished = escape !== -1 && text.length - escape < MAX_ESCAPE && !text.includes('\n', escape)
      const end = unfinished ? escape : text.length
      held = text.slice(end)
      return decodeEscapes(text.slice(0, end))
    },
    end() {
      const rest = decodeEscapes(held)
      held = ''
      return rest
    },
  }
}

function decodeEscapes(text: string): string {
  return text.replace(/=(?:([0-9A-Fa-f]{2})|[ \t]{0,76}\r?\n)/g, (_, hex: string | undefined) =>
    hex === undefined ? '' : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

/** Longer lines are not taken for base64: RFC 2045 section 6.8 allows 76, but who writes tests may not care. */
const MAX_LINE = 256 * 1024

/**
 * RFC 2045 section 6.8, on any text: each run of lines that have nothing but base64 in them is decoded, what lies between
 * runs is dropped.
 */
export function base64Lines(): Decoder {
  let line = ''
  // What of the run does not yet make a group of four.
  let group = ''
  const decodeLine = (): string => {
    const text = line.trimEnd()
    line = ''
    if (text === '') return ''
    if (text.length > MAX_LINE || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
      group = ''
      return '\n'
    }
    const run = group + text
    const whole = run.length - (run.length % 4)
    group = run.slice(whole)
    return Buffer.from(run.slice(0, whole), 'base64').toString('latin1')
  }
  return {
    push(piece) {
      const out: string[] = []
      let start = 0
      for (let end = piece.indexOf('\n'); end !== -1; end = piece.indexOf('\n', start)) {
        line += piece.slice(start, end)
        out.push(decodeLine())
        start = end + 1
      }
      // One character beyond the limit is enough to know.
      line = (line + piece.slice(start)).slice(0, MAX_LINE + 1)
      return out.join('')
    },
    end: () => decodeLine(),
  }
}
