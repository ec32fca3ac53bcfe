import { extendRecipient } from './addressExtension.ts'
import type { Assessment } from './assess.ts'
import type { Decision } from './decide.ts'
import { encodeWords } from './encodedWord.ts'
import type { Envelope, Recipient } from './envelope.ts'
import { listSymbol } from './senderLists.ts'

/** One change to the header block. */
export type HeaderEdit =
  /** Above the first original field, in the order of the edits. Unfolded; the writer folds it. */
  | { readonly op: 'prepend'; readonly name: string; readonly value: string }
  /** Deletes every field of that name, or, with a final `*`, whose name begins so. Case-insensitive. */
  | { readonly op: 'remove'; readonly name: string }
  /** Puts the tag, printable ASCII, before the subject, once however often it stands there; a missing Subject is added. */
  | { readonly op: 'tag-subject'; readonly tag: string }

/** One copy to hand back to Postfix: the recipients that get the same bytes. */
export interface Delivery {
  readonly edits: readonly HeaderEdit[]
  /** In RCPT TO order, as they came in. */
  readonly recipients: readonly Recipient[]
  /** The same, one for one, as they go out: some with an address extension. */
  readonly targets: readonly Recipient[]
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
  /** What stands between user and extension in a local part; '': there are no extensions. */
  readonly recipientDelimiter: string
}

/** Fields that only we may have written: whoever wrote them, they do not pass. */
const FORGEABLE = ['X-Quarantine-ID', 'X-Ecluse-*', 'X-Amavis-*', 'X-Virus-*', 'X-Spam-*']

const MAX_LEVEL_STARS = 64

/** Groups the passed recipients by the marks they get: as few copies as possible, in RCPT TO order. */
export function planDeliveries(decisions: readonly Decision[], context: MarkContext): Delivery[] {
  const groups = new Map<string, { edits: HeaderEdit[]; recipients: Recipient[]; targets: Recipient[] }>()
  const received: HeaderEdit = { op: 'prepend', name: 'Received', value: receivedValue(context) }
  const forgeable = removalsFor(context.alertHeader)
  for (const decision of decisions) {
    if (decision.destiny !== 'pass') continue
    const { recipient, policy } = decision
    const marks = [...policy.removeHeaders.map(removal), ...marksOf(decision, context)]
    const key = decisions.length === 1 ? '' : JSON.stringify(marks)
    let group = groups.get(key)
    if (!group) {
      group = { edits: [...forgeable, ...marks, received], recipients: [], targets: [] }
      groups.set(key, group)
    }
    group.recipients.push(recipient)
    group.targets.push(targetOf(decision, context.recipientDelimiter))
  }
  return [...groups.values()]
}

const removal = (name: string): HeaderEdit => ({ op: 'remove', name })

/** The extension of the worst category that has one; spammy mail goes where spam goes. */
function targetOf({ recipient, policy, local, blemishes }: Decision, delimiter: string): Recipient {
  if (!local || delimiter === '' || blemishes.length === 0) return recipient
  const { addressExtension } = policy
  for (const category of blemishes) {
    const extension =
      addressExtension[category] ?? (category === 'spammy' ? addressExtension.spam : undefined)
    if (extension !== undefined && extension !== '') return extendRecipient(recipient, extension, delimiter)
  }
  return recipient
}

const removals = new Map<string, readonly HeaderEdit[]>()

/** The same for every message of a configuration: made once. */
function removalsFor(alertHeader: string): readonly HeaderEdit[] {
  let edits = removals.get(alertHeader)
  if (!edits) {
    edits = [...FORGEABLE, alertHeader].map(removal)
    removals.set(alertHeader, edits)
  }
  return edits
}

function marksOf(decision: Decision, context: MarkContext): HeaderEdit[] {
  const { assessment, local, quarantined } = decision
  const marks: HeaderEdit[] = []
  const add = (name: string, value: string): void => void marks.push(mark(name, value))
  if (quarantined && local) add('X-Quarantine-ID', `<${context.id}>`)
  if (assessment.virusStatus !== undefined) {
    add('X-Virus-Scanned', `ecluse at ${context.hostname}${backupNote(assessment)}`)
    add('X-Virus-Status', virusStatus(decision))
  }
  if (assessment.viruses.length > 0) {
    add(context.alertHeader, `INFECTED, message contains virus: ${assessment.viruses.join(', ')}`)
  }
  if (!local) return marks
  marks.push(...spamMarks(decision))
  const tag = subjectTag(decision)
  if (tag !== '') marks.push({ op: 'tag-subject', tag: encodeWords(tag) })
  return marks
}

/** Names from scanners are in it: whatever they are, they begin no line. */
function mark(name: string, value: string): HeaderEdit {
  return { op: 'prepend', name, value: value.replace(/[^\x20-\x7e]/g, '?') }
}

/** Names are letters, digits, hyphens and underscores: the configuration's schema sees to it. */
function backupNote({ virusBackups }: Assessment): string {
  return virusBackups ? ` (backup ${virusBackups.join(', ')})` : ''
}

function virusStatus({ assessment: { virusStatus: status, viruses } }: Decision): string {
  if (status === 'clean') return 'Clean'
  if (status === 'infected') return `Infected (${viruses.join(', ')})`
  return `Unchecked (${status})`
}

function spamMarks(decision: Decision): HeaderEdit[] {
  const { policy, score, sender, blemishes } = decision
  if (score === undefined) return []
  const allowed = sender.listed === 'allowed'
  const tagLevel = allowed ? Math.min(ALLOWED_TAG_LEVEL, policy.tagLevel) : policy.tagLevel
  const spammy = blemishes.includes('spammy')
  if (score < tagLevel && !spammy) return []
  return [
    mark('X-Spam-Flag', spammy ? 'YES' : 'NO'),
    mark('X-Spam-Score', formatScore(score)),
    mark('X-Spam-Level', spamLevel(score)),
    mark(
      'X-Spam-Status',
      `${spammy ? 'Yes' : 'No'}, score=${formatScore(score)} tagged_above=${formatScore(policy.tagLevel)}` +
        ` required=${formatScore(policy.tag2Level)}${listing(decision)} tests=[${spamTests(decision)}]` +
        ' autolearn=unavailable',
    ),
  ]
}

/** From here on mail of an allowed sender is marked: amavisd's level for it. */
const ALLOWED_TAG_LEVEL = -10

/** amavisd's words, for tools that look for them. */
function listing({ sender: { listed } }: Decision): string {
  if (listed === undefined) return ''
  return listed === 'blocked' ? ' BLACKLISTED' : ' WHITELISTED'
}

/** `NAME=points,NAME=points`: rules of the scanners, then what virus names and sender lists added. */
export function spamTests({ assessment, sender }: Pick<Decision, 'assessment' | 'sender'>): string {
  const lists = sender.points === 0 ? [] : [listSymbol(sender)]
  return [...assessment.symbols, ...lists].map(({ name, score }) => `${name}=${formatScore(score)}`).join(',')
}

/** A star for each whole point, as many as amavisd shows at most. */
export function spamLevel(score: number): string {
  return '*'.repeat(Math.min(MAX_LEVEL_STARS, Math.max(0, Math.trunc(score))))
}

/** The tag of the worst category that has one. */
function subjectTag({ blemishes, policy }: Decision): string {
  for (const category of blemishes) {
    const spam = category === 'spam' || category === 'spammy'
    const tag = policy.subjectTags[category] ?? (spam ? policy.subjectTag : '')
    if (tag !== '') return tag
  }
  return ''
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
