import { FilterError, printable } from '@ecluse/core'

/** One reply, lines included, may have this many octets (the project's limit for every reply from the network). */
const MAX_REPLY_OCTETS = 65_536
const MAX_LINE = 1000

/**
 * Takes replies out of a byte stream (RFC 5321 section 4.2). Stricter than nodemailer's reader, which takes any
 * digits for a code and lets the code change within a reply: a next hop that speaks like that is not understood,
 * and guessing would make a delivery out of noise.
 */
export class ReplyReader {
  #text = ''
  #at = 0
  #complete = false
  /** Lines of a reply whose last one has not come. */
  #begun = ''

  /** Adds what came in. Take all replies with {@link next} before the next call. */
  push(chunk: Buffer): void {
    const text = chunk.toString('latin1')
    // Looking only at the new bytes keeps a line that arrives byte by byte from costing the square of its length.
    this.#complete ||= text.includes('\n')
    this.#text = this.#at === this.#text.length ? text : this.#text.slice(this.#at) + text
    this.#at = 0
  }

  /**
   * The next whole reply as latin1, its lines separated by LF, or undefined when there is none yet.
   *
   * @throws FilterError E_REINJECT_PROTOCOL for what is not a reply, or one over 64 KiB.
   */
  next(): string | undefined {
    while (this.#complete) {
      const end = this.#text.indexOf('\n', this.#at)
      if (end === -1) {
        this.#complete = false
        break
      }
      const line = this.#text.slice(this.#at, this.#text.charCodeAt(end - 1) === 0x0d ? end - 1 : end)
      this.#at = end + 1
      this.#check(line)
      const reply = this.#begun === '' ? line : `${this.#begun}\n${line}`
      if (reply.length > MAX_REPLY_OCTETS) throw malformed('longer than 64 KiB')
      if (line.charAt(3) !== '-') {
        this.#begun = ''
        return reply
      }
      this.#begun = reply
    }
    if (this.#text.length - this.#at > MAX_REPLY_OCTETS) throw malformed('line longer than 64 KiB')
    return undefined
  }

  /** True when there are bytes that no reply was made of. */
  get pending(): boolean {
    return this.#at < this.#text.length || this.#begun !== ''
  }

  #check(line: string): void {
    if (!/^[2-5]\d\d(?:[ -]|$)/.test(line)) throw malformed('not a reply line')
    if (line.includes('\0')) throw malformed('NUL')
    if (this.#begun !== '' && !this.#begun.startsWith(line.slice(0, 3))) throw malformed('codes differ')
  }
}

/** 200 to 599: the reader lets nothing else through. */
export function codeOf(reply: string): number {
  return Number(reply.slice(0, 3))
}

/** A whole reply on one line: printable ASCII, at most 1000 characters, code and enhanced code only once. */
export function replyLine(reply: string): string {
  if (!reply.includes('\n')) return printable(reply, MAX_LINE)
  const [first = '', ...others] = reply.split('\n')
  const enhanced = /^...[ -]([245]\.\d{1,3}\.\d{1,3} )/.exec(first)?.[1] ?? ''
  const texts = others.map((line) =>
    line.slice(line.startsWith(enhanced, 4) ? 4 + enhanced.length : 4).trim(),
  )
  return printable([`${first.slice(0, 3)} ${first.slice(4)}`.trim(), ...texts].join(' '), MAX_LINE)
}

/** The queue id that a Postfix tells in its last reply: `250 2.0.0 Ok: queued as 4X…`; undefined: it tells none. */
export function queueIdOf(line: string): string | undefined {
  return /\bqueued as ([A-Za-z0-9]{1,64})\b/.exec(line)?.[1]
}

function malformed(what: string): FilterError {
  return new FilterError('E_REINJECT_PROTOCOL', `malformed reply: ${what}`)
}
