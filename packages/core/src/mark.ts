import type { Decision } from './decide.ts'
import type { Envelope, Recipient } from './envelope.ts'

/** One change to the header block. */
export type HeaderEdit =
  /** Above the first original field, in the order of the edits. Unfolded; the writer folds it. */
  | { readonly op: 'prepend'; readonly name: string; readonly value: string }
  /** Deletes every field of that name, or, with a final `*`, whose name begins so. Case-insensitive. */
  | { readonly op: 'remove'; readonly name: string }
  /** Puts the tag before the subject, once however often it stands there; a missing Subject is added. */
  | { readonly op: 'tag-subject'; readonly tag: string }

/** One copy to hand back to Postfix: the recipients that get the same bytes. */
export interface Delivery {
  readonly edits: readonly HeaderEdit[]
  /** In RCPT TO order. */
  readonly recipients: readonly Recipient[]
}

/** What the marks of one message need beside its decisions. */
export interface MarkContext {
  readonly id: string
  readonly hostname: string
  readonly envelope: Envelope
  /** When the message was received. */
  readonly date: Date
  /** Name of the alert field: X-Ecluse-Alert, or X-Amavis-Alert for tools that look for it. */
  readonly alertHeader: string
}

/** Fields that only we may have written: whoever wrote them, they do not pass. */
const FORGEABLE = ['X-Quarantine-ID', 'X-Ecluse-*', 'X-Amavis-*', 'X-Virus-*', 'X-Spam-*']

const MAX_LEVEL_STARS = 64

/** Groups the passed recipients by the marks they get: as few copies as possible, in RCPT TO order. */
export function planDeliveries(decisions: readonly Decision[], context: MarkContext): Delivery[] {
  const groups = new Map<string, { edits: HeaderEdit[]; recipients: Recipient[] }>()
  const received: HeaderEdit = { op: 'prepend', name: 'Received', value: receivedValue(context) }
  const forgeable = removalsFor(context.alertHeader)
  for (const decision of decisions) {
    if (decision.destiny !== 'pass') continue
    const marks = marksOf(decision, context)
    const key = decisions.length === 1 ? '' : JSON.stringify(marks)
    const group = groups.get(key)
    if (group) group.recipients.push(decision.recipient)
    else groups.set(key, { edits: [...forgeable, ...marks, received], recipients: [decision.recipient] })
  }
  return [...groups.values()]
}

const removals = new Map<string, readonly HeaderEdit[]>()

/** The same for every message of a configuration: made once. */
function removalsFor(alertHeader: string): readonly HeaderEdit[] {
  let edits = removals.get(alertHeader)
  if (!edits) {
    edits = [...FORGEABLE, alertHeader].map((name) => ({ op: 'remove', name }))
    removals.set(alertHeader, edits)
  }
  return edits
}

function marksOf(decision: Decision, context: MarkContext): HeaderEdit[] {
  const { assessment, category, local, quarantined } = decision
  const marks: HeaderEdit[] = []
  const add = (name: string, value: string): void => void marks.push({ op: 'prepend', name, value })
  if (quarantined && local) add('X-Quarantine-ID', `<${context.id}>`)
  if (assessment.virusStatus !== undefined) {
    add('X-Virus-Scanned', `ecluse at ${context.hostname}`)
    add('X-Virus-Status', virusStatus(decision))
  }
  if (category === 'virus') {
    add(context.alertHeader, `INFECTED, message contains virus: ${assessment.viruses.join(', ')}`)
  }
  if (local) marks.push(...spamMarks(decision))
  return marks
}

function virusStatus({ assessment: { virusStatus: status, viruses } }: Decision): string {
  if (status === 'clean') return 'Clean'
  if (status === 'infected') return `Infected (${viruses.join(', ')})`
  return `Unchecked (${status})`
}

function spamMarks({ assessment, policy, score }: Decision): HeaderEdit[] {
  if (score === undefined || (score < policy.tagLevel && score < policy.tag2Level)) return []
  const spammy = score >= policy.tag2Level
  const tests = assessment.symbols.map((symbol) => `${symbol.name}=${formatScore(symbol.score)}`).join(',')
  const level = '*'.repeat(Math.min(MAX_LEVEL_STARS, Math.max(0, Math.trunc(score))))
  const marks: HeaderEdit[] = [
    { op: 'prepend', name: 'X-Spam-Flag', value: spammy ? 'YES' : 'NO' },
    { op: 'prepend', name: 'X-Spam-Score', value: formatScore(score) },
    { op: 'prepend', name: 'X-Spam-Level', value: level },
    {
      op: 'prepend',
      name: 'X-Spam-Status',
      value:
        `${spammy ? 'Yes' : 'No'}, score=${formatScore(score)} tagged_above=${formatScore(policy.tagLevel)}` +
        ` required=${formatScore(policy.tag2Level)} tests=[${tests}] autolearn=unavailable`,
    },
  ]
  if (spammy && policy.subjectTag !== '') marks.push({ op: 'tag-subject', tag: policy.subjectTag })
  return marks
}

/** amavisd's number format: three decimals, trailing zeros cut. */
export function formatScore(score: number): string {
  const text = score.toFixed(3).replace(/\.?0+$/, '')
  return text === '-0' ? '0' : text
}

/** RFC 5321 section 4.4; the protocol keywords are those of RFC 3848 and RFC 6531 section 4.3. */
function receivedValue({ id, hostname, envelope, date }: MarkContext): string {
  const { peer, protocol, smtpUtf8 } = envelope
  const from =
    peer.address === undefined
      ? 'unix socket'
      : `[${peer.address.includes(':') ? 'IPv6:' : ''}${peer.address}]`
  const base = protocol === 'lmtp' ? 'LMTP' : smtpUtf8 ? 'SMTP' : 'ESMTP'
  const keyword = `${smtpUtf8 ? 'UTF8' : ''}${base}${peer.tls === undefined ? '' : 'S'}`
  const helo = peer.helo.replace(/[^\x21-\x7e]|[()<>\\"]/g, '?')
  return `from ${helo} (${from}) by ${hostname} (ecluse) with ${keyword} id ${id}; ${formatDate(date)}`
}

/** RFC 5322 section 3.3, in UTC. */
export function formatDate(date: Date): string {
  return date.toUTCString().replace('GMT', '+0000')
}
