/** What ends a line or moves a cursor. */
const BREAKS = /[\p{Cc}\p{Zl}\p{Zp}]+/gu
/** Format characters: bidirectional overrides, zero width, tags. */
const FORMATS = /\p{Cf}/gu
/** Lone surrogates, which in addresses stand for bytes that are not UTF-8, and private use. */
const UNREADABLE = /[\p{Cs}\p{Co}]/gu

/**
 * Text of strangers as one line that people can be shown: no line ends, no controls, nothing that hides text or turns it
 * around. `://` becomes `[:]//`, for mail programs make links of what looks like one.
 *
 * @param maxLength in characters; what is cut off shows as `…`
 */
export function plainLine(text: string, maxLength = 200): string {
  // Not more than what could be shown is looked at.
  const line = text
    .slice(0, maxLength * 4)
    .replace(BREAKS, ' ')
    .replace(FORMATS, '')
    .replace(UNREADABLE, '\ufffd')
    .replaceAll('://', '[:]//')
    .trim()
  const characters = Array.from(line)
  if (characters.length <= maxLength && text.length <= maxLength * 4) return line
  return `${characters.slice(0, maxLength - 1).join('')}…`
}
