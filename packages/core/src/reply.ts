import type { Decision } from './decide.ts'
import type { Recipient } from './envelope.ts'
import type { FilterError } from './errors.ts'
import type { Destiny } from './policy.ts'
import { printable, type Category } from './verdict.ts'

/** An SMTP reply: basic code, enhanced status code (RFC 3463), text: printable ASCII, one line. */
export interface SmtpReply {
  readonly code: number
  readonly enhanced: string
  readonly text: string
}

/** Where in the transaction with the next hop a reply was given. */
export type ReinjectStage = 'mail' | 'rcpt' | 'data' | 'dot'

/** What became of one recipient at the next hop. `line` is its whole reply, lines joined with a blank. */
export type DeliveryResult = { readonly recipient: Recipient } & (
  | {
      readonly outcome: 'relayed'
      /** `smtp:[127.0.0.1]:10025`. */
      readonly mta: string
      readonly line: string
      /** Postfix's new queue id, where the reply tells it. */
      readonly queuedAs?: string
    }
  | {
      readonly outcome: 'refused'
      readonly mta: string
      readonly line: string
      readonly stage: ReinjectStage
    }
  /** A fault of transport: nobody knows more than that Postfix has to try again. */
  | { readonly outcome: 'failed'; readonly error: FilterError }
  /** SMTP only: not handed over since another recipient of the message was refused. */
  | { readonly outcome: 'withheld' }
)

const MAX_REASON = 450
/** Of an address, whose rest is in the log. */
const MAX_ADDRESS = 100

/** The reply for a recipient that the message is not delivered to. */
export function blockedReply(decision: Decision, id: string): SmtpReply {
  const { category, destiny, softened, suppressed, recipient, reason } = decision
  const because = printable(reason, MAX_REASON)
  const dsn = (what: string): SmtpReply => {
    const status = blockedCode(category)
    const address = printable(recipient.address, MAX_ADDRESS)
    return {
      code: 250,
      enhanced: '2.5.0',
      text: `Ok <${address}>, DSN ${what} (${status.code} ${status.enhanced} Bounce, id=${id} - ${because})`,
    }
  }
  switch (destiny) {
    case 'bounce':
      return dsn('was sent')
    case 'discard':
      if (suppressed) return dsn('suppressed')
      return { code: 250, enhanced: '2.7.0', text: `Ok, discarded, id=${id} - ${because}` }
    case 'reject': {
      return { ...blockedCode(category), text: `Reject, id=${id} - ${because}` }
    }
    case 'tempfail':
      if (softened) {
        const verb = SOFTENED_VERBS[softened]
        return { code: 450, enhanced: '4.7.0', text: `${verb} (soft_bounce), id=${id} - ${because}` }
      }
      // No category is the cause: a scanner that is needed failed.
      if (reason === '') return failureReply(id)
      return { code: 450, enhanced: '4.7.0', text: `Temporary failure, id=${id} - ${because}` }
    case 'pass':
      throw new TypeError('a passed recipient has the reply of its delivery')
  }
}

/** Whether the reply says that the sender has got a DSN: what is stored of an earlier try tells no more. */
export function isBounceReply({ code, text }: SmtpReply): boolean {
  return code < 300 && /^Ok <[^>]*>, DSN was sent /.test(text)
}

const SOFTENED_VERBS: Readonly<Record<Destiny, string>> = {
  pass: 'Pass',
  discard: 'Discard',
  reject: 'Reject',
  bounce: 'Bounce',
  tempfail: 'Tempfail',
}

/** amavisd's codes where they are not 554 5.7.0. */
const REJECT_CODES: Readonly<Partial<Record<Category, Omit<SmtpReply, 'text'>>>> = {
  'bad-header': { code: 554, enhanced: '5.6.0' },
  oversized: { code: 552, enhanced: '5.3.4' },
}
const REFUSED = { code: 554, enhanced: '5.7.0' } as const

/** What a sender is told whose message is refused because it is of that category. */
export function blockedCode(category: Category): Omit<SmtpReply, 'text'> {
  return REJECT_CODES[category] ?? REFUSED
}

/** The reply for a recipient that the message was handed over for, or should have been. */
export function deliveryReply(result: DeliveryResult, id: string): SmtpReply {
  switch (result.outcome) {
    case 'relayed': {
      const { code, enhanced, line } = readReply(result.line, 'dot')
      return { code, enhanced, text: `from MTA(${result.mta}): ${line}` }
    }
    case 'refused': {
      const { code, enhanced, line } = readReply(result.line, result.stage)
      const what = code >= 500 ? 'Rejected by next-hop MTA' : 'Temporary MTA failure'
      return { code, enhanced, text: `id=${id} - ${what} on relaying, from MTA(${result.mta}): ${line}` }
    }
    case 'failed':
      return transportReply(result.error, id)
    case 'withheld':
      return {
        code: 451,
        enhanced: '4.5.0',
        text: `${WITHHELD}, id=${id}`,
      }
  }
}

/** To clients that come, or begin a message, while the process ends: RFC 5321 section 3.8. */
export const SHUTTING_DOWN_REPLY: SmtpReply = {
  code: 421,
  enhanced: '4.3.2',
  text: 'Service shutting down, closing channel',
}

/** To new messages while as many as we take on are being looked at. */
export const BUSY_REPLY: SmtpReply = {
  code: 451,
  enhanced: '4.3.2',
  text: 'Too many messages at once, try again later',
}

/** While messages in files take all the room that they may; in the words that Postfix has for it. */
export const NO_ROOM_REPLY: SmtpReply = { code: 452, enhanced: '4.3.1', text: 'Insufficient system storage' }

const WITHHELD = 'Another recipient was refused, none was relayed'

/** The reply when something of ours broke. It never carries the cause: that is in the log, under the id. */
export function failureReply(id: string, cause?: { readonly code?: unknown }): SmtpReply {
  if (cause?.code === 'E_SPOOL_FULL') {
    return { ...NO_ROOM_REPLY, text: `${NO_ROOM_REPLY.text}, id=${id}` }
  }
  return { code: 451, enhanced: '4.7.1', text: `Content filter cannot check this message now, id=${id}` }
}

function transportReply({ code }: FilterError, id: string): SmtpReply {
  if (code === 'E_REINJECT_CONNECT') {
    return { code: 451, enhanced: '4.4.1', text: `Cannot relay now, id=${id}` }
  }
  if (code === 'E_REINJECT_TIMEOUT' || code === 'E_ABORTED') {
    return { code: 451, enhanced: '4.4.2', text: `Timed out while relaying, id=${id}` }
  }
  if (code === 'E_REINJECT_LOST') {
    return { code: 451, enhanced: '4.4.2', text: `Connection lost while relaying, id=${id}` }
  }
  return { code: 451, enhanced: '4.5.0', text: `Error while relaying, id=${id}` }
}

const DEFAULT_DETAIL: Readonly<Record<ReinjectStage, string>> = {
  mail: '1.0',
  rcpt: '1.0',
  data: '5.0',
  dot: '6.0',
}

/**
 * Reads a reply of the next hop, such as `250 2.0.0 Ok: queued as X`. One without an enhanced code, or with one of
 * another class, gets the class with amavisd's detail for the stage. 421 would end our own session: it becomes 451.
 */
function readReply(line: string, stage: ReinjectStage): { code: number; enhanced: string; line: string } {
  const match = /^(\d{3})[ -](?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?/.exec(line)
  const told = Number(match?.[1] ?? 451)
  const code = told === 421 ? 451 : told
  const cls = String(Math.trunc(code / 100))
  const enhanced = match?.[2]?.startsWith(cls) ? match[2] : `${cls}.${DEFAULT_DETAIL[stage]}`
  return { code, enhanced, line: printable(line, MAX_REASON) }
}

/**
 * One reply for all recipients, for SMTP (RFC 5321 has only one): the first 4xx that tells a cause, since then Postfix
 * comes again for all; where some were delivered or discarded and some refused, 4xx too, for a 5xx would bounce what
 * was delivered and a 2xx would hide what was not; otherwise a real delivery before a discard, a refusal of the next
 * hop before ours.
 *
 * @param replies at least one
 */
export function combineForSmtp(replies: readonly SmtpReply[], id: string): SmtpReply {
  const [first] = replies
  if (first === undefined) throw new TypeError('no replies to combine')
  const isWithheld = ({ text }: SmtpReply): boolean => text.startsWith(WITHHELD)
  const deferred = replies.find((reply) => reply.code >= 400 && reply.code < 500 && !isWithheld(reply))
  if (deferred) return deferred
  const done = replies.filter(({ code }) => code < 400)
  if (done.length === 0) {
    return replies.find(isWithheld) ?? replies.find(({ text }) => text.includes('from MTA(')) ?? first
  }
  if (done.length === replies.length) return done.find(({ text }) => text.startsWith('from MTA(')) ?? first
  return { code: 451, enhanced: '4.5.0', text: `Recipients have different results, id=${id}` }
}
