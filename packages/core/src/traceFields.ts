import { headerReadsOneWay } from './message.ts'

/**
 * The fields that tell by which way a copy came, and nothing of what it is. Every copy has others, so that no two would
 * be the same with them:
 *
 * - Received (RFC 5321 section 4.4): each host on the way writes one, with its id and the time; ours is always new
 * - Return-Path: the envelope sender, written where mail is delivered, by a host before us in a chain
 * - Delivered-To, X-Original-To: the address that Postfix delivered or forwarded this copy to
 *
 * No program shows them, or finds a part of a message by them. Fields that a sender or a list writes once for all
 * copies (Message-ID, Date, List-*, DKIM-Signature, ARC-*, Authentication-Results) are content.
 */
const TRACE_FIELD =
  /(?:^|\r\n)(?:received|return-path|delivered-to|x-original-to):[^\r]*(?:\r\n[ \t][^\r]*)*/gi

/** A header block, taken apart. */
export interface SplitHeader {
  /** What is the same in all copies, in order: pieces of the block that was given. */
  readonly kept: readonly Buffer[]
  /** Trace fields from the top: latin1, folded as they stood, without the last line end. */
  readonly trace: readonly string[]
}

/**
 * Takes the trace fields out of a header block. Where the first field of all is one, its name stays: engines tell by
 * the first bytes whether they have a mail before them.
 *
 * @param header as in `Message`
 * @returns absent: the block does not read one way, and none of its bytes may be left out
 */
export function splitHeader(header: Buffer): SplitHeader | undefined {
  if (!headerReadsOneWay(header)) return undefined
  const block = header.toString('latin1')
  const kept: Buffer[] = []
  const trace: string[] = []
  let position = 0
  for (const { 0: match, index } of block.matchAll(TRACE_FIELD)) {
    const start = match.startsWith('\r\n') ? index + 2 : index
    const end = index + match.length
    const name = start === 0 ? match.indexOf(':') + 2 : 0
    kept.push(header.subarray(position, start + name))
    trace.push(block.slice(start, end))
    position = end + 2
  }
  kept.push(header.subarray(position))
  return { kept, trace }
}

/**
 * What the trace fields tell of the way, without what differs from copy to copy: the ids, recipients and dates of the
 * Received fields. For whoever looks at the way itself, where nothing else tells of it.
 */
export function relayPath(trace: readonly string[]): string {
  return trace.filter(isReceived).map(withoutIdAndDate).join('\n')
}

/** The fields with addresses of the envelope (Return-Path, Delivered-To, X-Original-To), as they stood. */
export function addressedBy(trace: readonly string[]): string {
  return trace.filter((field) => !isReceived(field)).join('\n')
}

/** All but the topmost Received, which our own Postfix wrote: what somebody else could write there. */
export function foreignTrace(trace: readonly string[]): string {
  const own = trace.findIndex(isReceived)
  return trace.filter((_, index) => index !== own).join('\n')
}

const SUBMISSION = /\bwith\s(?:E|UTF8)SMTPS?A\b|\(Authenticated sender: [^)]{0,400}\)/gi

/** What the topmost Received says of a client that gave its password (RFC 3848): '' where there was none. */
export function authenticatedAs(trace: readonly string[]): string {
  const top = trace.find(isReceived)
  return top === undefined ? '' : (top.slice(0, 4096).match(SUBMISSION) ?? []).join('\n')
}

function isReceived(field: string): boolean {
  return field.slice(0, 9).toLowerCase() === 'received:'
}

/** `from A by B with ESMTP id C for <D>; DATE` → `from A by B with ESMTP`. */
function withoutIdAndDate(field: string): string {
  const date = field.lastIndexOf(';')
  const words = (date === -1 ? field : field.slice(0, date)).split(/[ \t\r\n]+/)
  if (words.at(-2)?.toLowerCase() === 'for') words.splice(-2)
  if (words.at(-2)?.toLowerCase() === 'id') words.splice(-2)
  return words.join(' ')
}
