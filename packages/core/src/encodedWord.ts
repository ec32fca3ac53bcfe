/** Bytes that make 60 characters of base64: with what stands around them less than the 75 of RFC 2047 section 2. */
const MAX_BYTES = 45

/**
 * Text as it may stand in front of an unstructured field's value: itself where it is printable ASCII, otherwise
 * encoded words of RFC 2047, UTF-8 in base64, and a blank. No character is split between two of them (section 5).
 * Blanks at the end of the text are kept inside, since those between encoded words are not shown (section 6.2).
 */
export function encodeWords(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text
  const encoder = new TextEncoder()
  const words: number[][] = []
  for (const character of text) {
    const bytes = encoder.encode(character)
    const word = words.at(-1)
    if (word && word.length + bytes.length <= MAX_BYTES) word.push(...bytes)
    else words.push([...bytes])
  }
  return words.map((bytes) => `=?UTF-8?B?${btoa(String.fromCharCode(...bytes))}?= `).join('')
}
