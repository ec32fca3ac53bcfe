/*
 * What pg relies on, and does not look at: an error or notice without an end keeps its parser busy for ever, and one that
 * is too short ends the process.
 */

const HEADER_BYTES = 5
/** The fields of a message with 1,000 recipients stay far below, as text in hex too. */
const MAX_BYTES = 64 * 1024 * 1024
const MAX_REPORT_BYTES = 1024 * 1024
const [ERROR, NOTICE] = [0x45, 0x4e]

/**
 * Looks at what a server sends before anybody else does: whether its messages have a length that can be, and errors and
 * notices an end (PostgreSQL, Frontend/Backend Protocol, Message Formats). What it gives is called with each piece, and
 * throws RangeError for what no PostgreSQL sends.
 */
export function frameCheck(): (bytes: Buffer) => void {
  let header: Buffer = Buffer.alloc(0)
  let left = 0
  let report: Buffer[] | undefined

  /** @returns where the message, or the piece, ends */
  function body(bytes: Buffer, begin: number): number {
    const end = Math.min(bytes.length, begin + left)
    report?.push(bytes.subarray(begin, end))
    left -= end - begin
    if (left === 0 && report !== undefined) {
      checkReport(Buffer.concat(report))
      report = undefined
    }
    return end
  }

  return (bytes) => {
    let at = 0
    while (at < bytes.length) {
      if (left > 0) {
        at = body(bytes, at)
        continue
      }
      const more = bytes.subarray(at, at + HEADER_BYTES - header.length)
      header = header.length === 0 ? more : Buffer.concat([header, more])
      at += more.length
      if (header.length < HEADER_BYTES) return
      const [type] = header
      left = header.readUInt32BE(1) - 4
      header = Buffer.alloc(0)
      const isReport = type === ERROR || type === NOTICE
      if (left < (isReport ? 1 : 0) || left > (isReport ? MAX_REPORT_BYTES : MAX_BYTES)) {
        throw new RangeError('no message of PostgreSQL')
      }
      if (isReport) report = []
    }
  }
}

/** Fields that each end in a NUL, and one more: exactly to the end. */
function checkReport(body: Buffer): void {
  let at = 0
  while (at < body.length && body[at] !== 0) {
    const end = body.indexOf(0, at + 1)
    at = end === -1 ? body.length : end + 1
  }
  if (at !== body.length - 1) throw new RangeError('no error of PostgreSQL')
}
