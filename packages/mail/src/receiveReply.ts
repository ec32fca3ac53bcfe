import type { SmtpReply } from '@ecluse/core'

/** RFC 5321 section 4.5.3.1.5, CRLF included. */
const LINE_OCTETS = 512
/** More text than this is cut: no reply of ours has a use for it. */
const TEXT_OCTETS = 8192
const UNPRINTABLE = /[^\x20-\x7e]/
const ENHANCED = /^[245]\.\d{1,3}\.\d{1,3}$/

/**
 * A reply as it goes over the wire, CRLF included: code and enhanced code on each line, lines of at most 512 octets,
 * broken between words where there are any, and everything that is not printable ASCII as `?`.
 */
export function formatReply({ code, enhanced, text }: SmtpReply): string {
  const room = LINE_OCTETS - 2 - 4 - enhanced.length - 1
  if (text.length <= room && !UNPRINTABLE.test(text)) return `${code} ${enhanced} ${text}\r\n`
  const lines = text
    .slice(0, TEXT_OCTETS)
    .split(/\r?\n|\r/)
    .flatMap((line) => breakLine(line.replace(/[^\x20-\x7e]/g, '?'), room))
  return lines
    .map((line, at) => `${code}${at < lines.length - 1 ? '-' : ' '}${enhanced} ${line}\r\n`)
    .join('')
}

/** Whether a handler's reply may go out: final (2xx, 4xx or 5xx), with an enhanced code of the same class (RFC 3463). */
export function isValidReply({ code, enhanced }: SmtpReply): boolean {
  const valid = Number.isInteger(code) && code >= 200 && code <= 599
  return valid && ENHANCED.test(enhanced) && enhanced.startsWith(String(Math.trunc(code / 100)))
}

function breakLine(line: string, room: number): string[] {
  const pieces: string[] = []
  let rest = line
  while (rest.length > room) {
    const blank = rest.lastIndexOf(' ', room)
    const end = blank > 0 ? blank : room
    pieces.push(rest.slice(0, end))
    rest = rest.slice(blank > 0 ? end + 1 : end)
  }
  pieces.push(rest)
  return pieces
}
