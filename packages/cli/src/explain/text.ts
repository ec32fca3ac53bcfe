import { escapeControls } from '../terminal.ts'
import type {
  ExplainedScanner,
  ExplainedSender,
  ExplainedTransaction,
  Explanation,
  FoundEntry,
  ShownEnvelope,
} from './explanation.ts'
import { recipientText } from './recipientText.ts'
import { address, found, points, quoted, row, shown } from './words.ts'

/** The explanation for a terminal, ending in a line end. Whatever comes from the message or from servers is escaped. */
export function explanationText(explanation: Explanation): string {
  const { recipients, transactions, scanners, notes } = explanation
  const lines = [
    ...messageText(explanation),
    '',
    'Scanners',
    ...(scanners.length === 0 ? ['  none'] : scanners.map(scannerText)),
    ...recipients.flatMap((recipient) => ['', ...recipientText(recipient)]),
    ...transactions.flatMap((transaction, index) => ['', ...transactionText(transaction, index)]),
    '',
    quarantineText(explanation),
    ...notes.map((note) => `Note: ${shown(note)}`),
  ]
  return `${lines.join('\n')}\n`
}

function messageText({ message, envelope, direction, originating, sender }: Explanation): string[] {
  const { file, form, lineEnds, size, digest, contentDigest, id, subject } = message
  const forms = { message: '', mbox: ', "From " line dropped', quarantine: ', a file of the quarantine' }
  const ends = lineEnds === 'lf' ? ', LF read as CRLF' : ''
  return [
    'Message',
    row('file', `${shown(file)}, ${size} bytes${forms[form]}${ends}`),
    row('subject', subject === undefined ? 'none' : quoted(subject)),
    row('id', `${shown(id)}${form === 'quarantine' ? '' : ' (of this explanation only)'}`),
    row('digest', digest),
    ...(contentDigest === undefined ? [] : [row('content', `${contentDigest} (for ecluse cache purge)`)]),
    ...envelopeText(envelope),
    row('direction', direction),
    row(
      'originating',
      `${originating.value ? 'yes' : 'no'}: ${shown(originating.why)}${entryBehind(originating.entry)}`,
    ),
    ...senderText(sender),
  ]
}

function entryBehind(entry: FoundEntry | undefined): string {
  return entry === undefined ? '' : `, ${found(entry)}`
}

function envelopeText(envelope: ShownEnvelope): string[] {
  const { mailFrom, mailFromSource, mailFromGuessed, recipients, recipientsSource, recipientsGuessed } =
    envelope
  const { client, clientName, helo, clientSource, protocol, listener, smtpUtf8 } = envelope
  const details = [clientName && `name ${clientName}`, helo && `helo ${helo}`].filter(
    (part) => part !== undefined,
  )
  const known = [client ?? 'not known', ...details].map((part) => shown(part ?? '')).join(', ')
  return [
    row('sender', `${address(mailFrom)} (${source(mailFromSource, mailFromGuessed)})`),
    row('recipients', `${recipients.length} (${source(recipientsSource, recipientsGuessed)})`),
    row('client', `${known}${clientSource === 'nothing' ? '' : ` (${clientSource})`}`),
    row('listener', `${protocol} ${shown(listener)}${smtpUtf8 ? ', SMTPUTF8' : ''}`),
  ]
}

function source(from: string, guess: boolean): string {
  if (from === 'nothing') return 'a guess: nothing names one'
  return guess ? `a guess, from ${from}` : `from ${from}`
}

function senderText({ keys, asked, authors, proofs }: ExplainedSender): string[] {
  const from = asked ? authors.map(address).join(', ') || 'no author that can be read' : 'not looked at'
  const proved = proofs.map(({ method, identity }) => `${method} ${shown(identity)}`).join(', ') || 'none'
  return [
    row('sender keys', keys.map(shown).join('  ')),
    row('From', asked ? from : 'not looked at: there are no sender lists'),
    ...(asked ? [row('proofs', proved)] : []),
  ]
}

function scannerText(scanner: ExplainedScanner): string {
  return row(shown(scanner.name), scannerResult(scanner))
}

function scannerResult(scanner: ExplainedScanner): string {
  switch (scanner.outcome) {
    case 'done':
      return `${scanner.elapsedMs} ms: ${findingsText(scanner)}${scanner.remembered ? ' (remembered for copies)' : ''}`
    case 'skipped':
      return `not asked: ${scanner.reason}, maxSize ${scanner.limitBytes} bytes`
    case 'failed':
      return (
        `failed after ${scanner.elapsedMs} ms: ${scanner.code} ${shown(scanner.error)}; ` +
        `onError ${scanner.onError}: ${ON_ERROR[scanner.onError]}`
      )
    case 'not asked':
      return `not asked: ${scanner.reason}`
  }
}

const ON_ERROR = {
  tempfail: 'nothing is decided without it, but for a virus that another one found',
  pass: 'as if it were not there, marked Unchecked where it looks for viruses',
  unchecked: 'the category is unchecked',
} as const

function findingsText({ findings }: Extract<ExplainedScanner, { outcome: 'done' }>): string {
  const texts = findings.map((finding) => {
    switch (finding.kind) {
      case 'virus':
        return `virus ${shown(finding.name)}`
      case 'unchecked':
        return `unchecked, ${finding.reason}`
      case 'score': {
        const required = finding.required === undefined ? '' : ` of ${points(finding.required)}`
        const rules = finding.symbols.map(({ name, score }) => `${shown(name)}=${points(score)}`).join(' ')
        return `${points(finding.points)}${required} points${rules && `: ${rules}`}`
      }
      case 'authenticated': {
        const { method, identity } = finding
        return `proves ${method} ${shown(typeof identity === 'string' ? identity : identity.domain)}`
      }
    }
  })
  return texts.join('; ') || 'clean'
}

function transactionText(transaction: ExplainedTransaction, index: number): string[] {
  const { recipients, changes, changesLeftOut, subject } = transaction
  const to = recipients.map((recipient) =>
    recipient.target === recipient.address
      ? address(recipient.address)
      : `${address(recipient.address)} as ${address(recipient.target)}`,
  )
  return [
    `Copy ${index + 1} for ${to.join(', ')}`,
    ...changes.flatMap(({ op, field }) => diffLines(op, field)),
    ...(changesLeftOut === 0 ? [] : [`  and ${changesLeftOut} changes more`]),
    ...(subject ? [row('subject', `${optional(subject.before)} → ${optional(subject.after)}`)] : []),
  ]
}

function optional(subject: string | undefined): string {
  return subject === undefined ? 'none' : quoted(subject)
}

/** A folded field takes several lines, each with the sign. */
function diffLines(op: string, field: string): string[] {
  return field.split(/\r\n|\r|\n/).map((line) => `  ${op}${line.split('\t').map(escapeControls).join('\t')}`)
}

function quarantineText({ quarantine, message }: Explanation): string {
  if (!quarantine.kept) return 'Quarantine: nothing would be kept'
  return `Quarantine: a copy would be kept, category ${quarantine.category ?? ''}, id ${shown(message.id)}`
}
