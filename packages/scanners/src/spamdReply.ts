import { printable, type SpamSymbol } from '@ecluse/core'
import { protocolError } from './failure.ts'

/** A reply of spamd with a score, as spamd/PROTOCOL of SpamAssassin's source describes it. */
export interface SpamdReply {
  readonly points: number
  readonly required: number
  /** As spamd sent it, one character for each byte. */
  readonly body: string
}

/**
 * Reads a reply with a score.
 *
 * @throws FilterError E_SCANNER_PROTOCOL: not EX_OK, no score, or another length than it says.
 */
export function readSpamdReply(reply: Buffer): SpamdReply {
  const end = reply.indexOf('\r\n\r\n')
  const [status = '', ...fields] = reply.toString('latin1', 0, end === -1 ? 0 : end).split('\r\n')
  const code = /^SPAMD\/\d{1,3}\.\d{1,3} (\d{1,5})(?: |$)/.exec(status)?.[1]
  // An error is one line without fields.
  if (code !== '0')
    throw protocolError(`spamd: ${printable(reply.toString('latin1', 0, 200)) || 'empty reply'}`)
  const body = reply.toString('latin1', end + 4)
  const declared = /^\d{1,10}$/.exec(field(fields, 'content-length'))?.[0]
  if (declared !== String(body.length))
    throw protocolError(`spamd: ${body.length} bytes instead of ${declared}`)
  const score = /^(?:True|Yes|False|No) *; *(-?\d{1,9}(?:\.\d{1,9})?) *\/ *(-?\d{1,9}(?:\.\d{1,9})?)$/i.exec(
    field(fields, 'spam'),
  )
  if (!score) throw protocolError('spamd: no score')
  return { points: Number(score[1]), required: Number(score[2]), body }
}

/**
 * Reads the reply to TELL: whether something was learned. spamd says nothing of a message that it knew.
 *
 * @throws FilterError E_SCANNER_PROTOCOL: refused, as by a spamd without --allow-tell.
 */
export function readTellReply(reply: Buffer): boolean {
  const [status = '', ...fields] = reply.toString('latin1').split('\r\n')
  if (!/^SPAMD\/\d{1,3}\.\d{1,3} 0(?: |$)/.test(status)) {
    throw protocolError(`spamd: ${printable(status) || 'empty reply'}`)
  }
  return field(fields, 'didset').split(/[ ,]+/).includes('local')
}

/** The value of a field that must stand there once; '' otherwise. */
function field(fields: readonly string[], name: string): string {
  const values = fields.filter((line) => line.slice(0, name.length + 1).toLowerCase() === `${name}:`)
  return values.length === 1 ? (values[0] ?? '').slice(name.length + 1).trim() : ''
}

/** Below the titles, whatever their language. The preview above cannot hold it: SpamAssassin removes long dashes there. */
const RULER = /^ ?-{3,8} -{10,40} -{10,}\s*$/
/** `%4.1f %-22s description`, from ten points on `%4.0f`; a folded description is indented, or begins with `[`. */
const ROW = /^ {0,3}(-?\d{1,7}(?:\.\d{1,3})?) ([A-Za-z_]\w{0,200})(?: |$)/

/**
 * Reads the rules and their points from the report, in its order. The points have one decimal there, from ten on none.
 * Empty where the site's report_template has no table: the score itself does not depend on it, and to ask for the
 * names would cost a second scan.
 */
export function readReportTable(report: string): SpamSymbol[] {
  const lines = report.split('\n')
  const ruler = lines.findLastIndex((line) => RULER.test(line))
  if (ruler === -1) return []
  return lines.slice(ruler + 1).flatMap((line) => {
    const row = ROW.exec(line)
    return row?.[2] === undefined ? [] : [{ name: row[2], score: Number(row[1]) }]
  })
}

/** The engine from the X-Spam-Checker-Version field of a HEADERS reply; or from X-Spam-Status; absent: the site has removed both. */
export function readEngine(header: string): string | undefined {
  const field = /^X-Spam-Checker-Version: (SpamAssassin [\w.-]{1,40})/im.exec(header)?.[1]
  if (field !== undefined) return field
  const version = /^X-Spam-Status: (?:[^\r\n]|\r?\n[ \t])*?\bversion=([\w.-]{1,40})/im.exec(header)?.[1]
  return version === undefined ? undefined : `SpamAssassin ${version}`
}
