const CR = 0x0d
const LF = 0x0a
const DOT = 0x2e

/**
 * Prepares message bytes for DATA: bare CR and bare LF become CRLF, and after that a dot at the start of a line is
 * doubled (RFC 5321 section 4.5.2), so that no receiver, however lax about line ends, sees the end of the data
 * before we mean it. The output is the same as that of nodemailer's DataStream, in less time, and a chunk that needs
 * no change is handed on as it is.
 */
export class DotStuffer {
  /** The last byte so far; -1 before the first. */
  #last = -1

  /** The chunk as it goes out: itself, or a copy with what was missing. At most twice as long. */
  push(chunk: Uint8Array): Uint8Array {
    const previous = this.#last
    const extra = countMissing(chunk, previous)
    if (chunk.length > 0) this.#last = chunk[chunk.length - 1] as number // within bounds
    return extra === 0 ? chunk : insertMissing(chunk, previous, extra)
  }

  /** What ends the data: the missing rest of the last line end, and the dot. */
  end(): Buffer {
    if (this.#last === LF) return DOT_CRLF
    return this.#last === CR ? LF_DOT_CRLF : CRLF_DOT_CRLF
  }
}

const DOT_CRLF = Buffer.from('.\r\n')
const LF_DOT_CRLF = Buffer.from('\n.\r\n')
const CRLF_DOT_CRLF = Buffer.from('\r\n.\r\n')

/** How many bytes have to be put in; `last` is the byte before the chunk. */
function countMissing(chunk: Uint8Array, last: number): number {
  if (chunk.length === 0) return 0
  let missing = missingBefore(chunk[0] as number, last) // within bounds
  for (let i = 1; i < chunk.length; i++) {
    const byte = chunk[i] as number // within bounds
    // Nearly every byte of a mail is above the dot: one comparison for each. What a CR lacks is found at the CR.
    if (byte > DOT) continue
    if (byte === LF) missing += chunk[i - 1] === CR ? 0 : 1
    else if (byte === DOT) missing += chunk[i - 1] === LF || chunk[i - 1] === CR ? 1 : 0
    if (byte === CR && i + 1 < chunk.length && chunk[i + 1] !== LF) missing += 1
  }
  // A CR in front tells only by what follows it.
  if (chunk[0] === CR && chunk.length > 1 && chunk[1] !== LF) missing += 1
  return missing
}

function insertMissing(chunk: Uint8Array, last: number, extra: number): Uint8Array {
  const source = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
  const out = Buffer.allocUnsafe(source.length + extra)
  let from = 0
  let at = 0
  let previous = last
  for (let i = 0; i < source.length; i++) {
    const byte = source[i] as number // within bounds
    if ((byte <= DOT || previous === CR) && missingBefore(byte, previous) > 0) {
      at += source.copy(out, at, from, i)
      from = i
      if (previous === CR) out[at++] = LF
      else if (byte === LF) out[at++] = CR
      if (byte === DOT) out[at++] = DOT
    }
    previous = byte
  }
  source.copy(out, at, from)
  return out
}

/** How many bytes must stand between two bytes of the message; `previous` is -1 at its very beginning. */
function missingBefore(byte: number, previous: number): number {
  if (previous === CR) {
    if (byte === LF) return 0
    return byte === DOT ? 2 : 1
  }
  if (byte === LF) return 1
  return byte === DOT && (previous === LF || previous === -1) ? 1 : 0
}
