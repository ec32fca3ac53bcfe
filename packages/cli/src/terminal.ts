import type { FilterError } from '@ecluse/core'

/**
 * What moves the cursor, hides text or turns it around: controls, format characters (bidirectional overrides, zero
 * width, tags), lone surrogates, private use, line and paragraph separators.
 */
export const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/

/** Text of strangers as one line that a terminal cannot be led astray by: `\xNN` for a byte, `\u{N}` for the rest. */
export function escapeControls(text: string): string {
  // Most text: a set of Unicode's properties takes ten times as long.
  if (PRINTABLE_ASCII.test(text)) return text
  return text.replace(INVISIBLE, (char) => {
    const code = char.codePointAt(0) ?? 0
    // A byte that is not UTF-8, in an address.
    const byte = code >= 0xdc80 && code <= 0xdcff ? code & 0xff : code
    return byte < 0x100 ? `\\x${byte.toString(16).padStart(2, '0')}` : `\\u{${byte.toString(16)}}`
  })
}

/** JSON for scripts and for terminals: what is invisible is escaped, the values are the same. */
export function visibleJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(INVISIBLE, (char) => {
    if (char === '\n') return char
    return Array.from(
      { length: char.length },
      (_, index) => `\\u${char.charCodeAt(index).toString(16).padStart(4, '0')}`,
    ).join('')
  })
}

/** `FILE:LINE:COLUMN: WHAT (HINT)`, as far as these are known; one line, without line end. */
export function describeError({ message, hint, place }: FilterError): string {
  const { file, line, column } = place ?? {}
  const where = [file, line, column].filter((part) => part !== undefined).join(':')
  return escapeControls(`${where && `${where}: `}${message}${hint === undefined ? '' : ` (${hint})`}`)
}
