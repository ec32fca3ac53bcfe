import {
  comparableDomain,
  headerReadsOneWay,
  type Authenticated,
  type ScanRequest,
  type SpamSymbol,
} from '@ecluse/core'

const MAX_OPTIONS = 20
const MAX_OPTION_LENGTH = 600

/** SpamAssassin's rules; SPF_HELO_PASS is not among them: who says HELO chooses the name. */
const SPAMASSASSIN_RULES: ReadonlyMap<string, Authenticated> = new Map([
  ['DKIM_VALID_AU', { kind: 'authenticated', method: 'dkim', identity: 'from' }],
  ['DKIM_VALID_EF', { kind: 'authenticated', method: 'dkim', identity: 'mail-from' }],
  ['SPF_PASS', { kind: 'authenticated', method: 'spf', identity: 'mail-from' }],
  ['DMARC_PASS', { kind: 'authenticated', method: 'dmarc', identity: 'from' }],
])

// RFC 5321 section 4.1.2, Dot-string and Domain.
const PLAIN_ADDRESS = /^[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*@[\w-]+(?:\.[\w-]+)*\.?$/

/**
 * Whether an engine reads the envelope sender as we do. One that it cannot read is none to rspamd 3.4, and then it
 * checks the HELO name, which the client chooses: so it is with `a..b@`, two `@`, and every 8-bit address.
 */
function isPlain(mailFrom: string): boolean {
  return PLAIN_ADDRESS.test(mailFrom)
}

/**
 * What the rules prove that SpamAssassin matched, by the names in its own rules (25_dkim.cf, 25_spf.cf, 25_dmarc.cf).
 * Nothing about the envelope sender where SpamAssassin may have taken another address for it.
 */
export function spamassassinProofs(
  symbols: readonly SpamSymbol[],
  { message, envelope }: Pick<ScanRequest, 'message' | 'envelope'>,
): Authenticated[] {
  const names = new Set(symbols.map(({ name }) => name))
  const proofs = [...SPAMASSASSIN_RULES].flatMap(([name, proof]) => (names.has(name) ? [proof] : []))
  if (!proofs.some(({ identity }) => identity === 'mail-from')) return proofs
  return isPlain(envelope.mailFrom) && knowsEnvelope(message.header)
    ? proofs
    : proofs.filter(({ identity }) => identity !== 'mail-from')
}

const ENVELOPE_FIELD = /^(received|x-envelope-from|envelope-sender):/im

/**
 * Whether SpamAssassin takes the envelope sender from the Return-Path above the message. It prefers two other fields,
 * which the sender may have written, unless a Received stands above them (`get_envelope_from` in PerMsgStatus.pm);
 * above an mbox line there is no Return-Path of ours.
 */
function knowsEnvelope(header: Buffer): boolean {
  const text = header.toString('latin1')
  if (text.startsWith('From ') || !headerReadsOneWay(header)) return false
  const first = ENVELOPE_FIELD.exec(text)?.[1]?.toLowerCase() ?? 'received'
  return first === 'received'
}

/**
 * What the symbols of rspamd prove, by the names of its modules spf, dkim and dmarc. Of R_DKIM_ALLOW the first 20
 * options `domain:s=selector` are read. What has another form proves nothing.
 *
 * @param symbols of the reply, whatever they are
 * @param mailFrom as it was given to rspamd; where that cannot be sure to read it, SPF proves nothing
 */
export function rspamdProofs(symbols: Readonly<Record<string, unknown>>, mailFrom: string): Authenticated[] {
  const proofs: Authenticated[] = []
  if (isPlain(mailFrom) && isMatch(symbols, 'R_SPF_ALLOW'))
    proofs.push({ kind: 'authenticated', method: 'spf', identity: 'mail-from' })
  if (isMatch(symbols, 'DMARC_POLICY_ALLOW'))
    proofs.push({ kind: 'authenticated', method: 'dmarc', identity: 'from' })
  if (!isMatch(symbols, 'R_DKIM_ALLOW')) return proofs
  const domains = new Set(optionsOf(symbols['R_DKIM_ALLOW']).flatMap(signingDomain))
  for (const domain of domains) proofs.push({ kind: 'authenticated', method: 'dkim', identity: { domain } })
  return proofs
}

function isMatch(symbols: Readonly<Record<string, unknown>>, name: string): boolean {
  return Object.hasOwn(symbols, name) && typeof symbols[name] === 'object' && symbols[name] !== null
}

function optionsOf(symbol: unknown): readonly unknown[] {
  const options = (symbol as { readonly options?: unknown }).options
  return Array.isArray(options) ? options.slice(0, MAX_OPTIONS) : []
}

function signingDomain(option: unknown): string[] {
  if (typeof option !== 'string' || option.length > MAX_OPTION_LENGTH) return []
  // Exactly one colon: with `d=good.example:s=x.evil.example` somebody could name a domain that is not his.
  const [domain = '', selector, ...more] = option.split(':')
  if (selector === undefined || !selector.startsWith('s=') || more.length > 0) return []
  const name = comparableDomain(domain)
  return name === undefined ? [] : [name]
}
