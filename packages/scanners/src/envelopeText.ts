/**
 * An envelope value for a header field of a scanner's protocol: one character for each byte (latin1), the bytes
 * as they stood in the envelope. Control characters become `?`, so that no value can end its line.
 */
export function envelopeText(text: string): string {
  const bytes = toBytes(text).toString('latin1')
  // oxlint-disable-next-line no-control-regex -- replacing them is the purpose
  return bytes.replace(/[\x00-\x1f\x7f]/g, '?')
}

/** UTF-8, but U+DC80 to U+DCFF, which stand for a byte that was not UTF-8, become that byte. */
function toBytes(text: string): Buffer {
  const parts = text.split(/([\udc80-\udcff])/u)
  return Buffer.concat(
    parts.map((part, index) =>
      index % 2 === 1 ? Buffer.from([part.charCodeAt(0) & 0xff]) : Buffer.from(part),
    ),
  )
}
