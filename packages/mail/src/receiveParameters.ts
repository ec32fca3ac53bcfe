import {
  NOTIFY_VALUES,
  printable,
  type Envelope,
  type Notify,
  type Recipient,
  type SmtpReply,
} from '@ecluse/core'
import { decodePath, parsePath } from './path.ts'
import { decodeXtext } from './xforward.ts'

/** What MAIL says. */
export type Sender = Pick<Envelope, 'mailFrom' | 'smtpUtf8' | 'body' | 'ret' | 'envid' | 'declaredBytes'>

/**
 * RFC 3461 section 4.2 for ORCPT; for ENVID it names 100. Postfix enforces neither, and takes from strangers what the
 * grammar has not: where we refused it, Postfix would tell the sender, who may be forged. What cannot be used is left out.
 */
const PARAMETER_OCTETS = 500
const FROM = /^FROM: */i
const TO = /^TO: */i
const ORCPT = /^([A-Za-z0-9-]+);(.+)$/
const UTF8_ORCPT = /^[!-~\x80-\xff]+$/
// RFC 6533 section 3: \x{HEX} in utf-8-addr-xtext.
const ESCAPED_CONTROL = /\\x\{0*(?:[01]?[0-9a-f]|7f)\}/i
const SIZE = /^\d{1,20}$/

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }
/** Sets the field of the parameter; false: it is wrong. */
type ParameterReader<T> = (target: Mutable<T>, value: string) => boolean

const MAIL_PARAMETERS: ReadonlyMap<string, ParameterReader<Sender>> = new Map([
  ['SIZE', readSize],
  ['BODY', readBody],
  ['SMTPUTF8', readSmtpUtf8],
  ['RET', readRet],
  ['ENVID', readEnvid],
  // RFC 4954 section 5: whoever does not trust the claim ignores it.
  ['AUTH', () => true],
])

const RCPT_PARAMETERS: ReadonlyMap<string, ParameterReader<Recipient>> = new Map([
  ['NOTIFY', readNotify],
  ['ORCPT', readOrcpt],
])

/**
 * Reads MAIL: what it says, or the reply that refuses it.
 *
 * @param args what follows the verb, one character for each octet
 */
export function parseMail(args: string): Sender | SmtpReply {
  const start = FROM.exec(args)
  const path = start && parsePath(args, start[0].length)
  if (!path || !endsThere(args, path.end)) return syntaxReply('MAIL FROM:<address>')
  const sender: Mutable<Sender> = { mailFrom: path.address, smtpUtf8: false }
  if (path.end === args.length) return sender
  const wrong = readParameters(args.slice(path.end), sender, MAIL_PARAMETERS)
  return wrong
    ? { code: 504, enhanced: '5.5.4', text: `MAIL command parameter error: ${wrong.shown}` }
    : sender
}

/**
 * Reads RCPT: one recipient, or the reply that refuses it.
 *
 * @param args what follows the verb, one character for each octet
 */
export function parseRcpt(args: string): Recipient | SmtpReply {
  const start = TO.exec(args)
  const path = start && parsePath(args, start[0].length)
  if (!path || path.address === '' || !endsThere(args, path.end)) return syntaxReply('RCPT TO:<address>')
  const recipient: Mutable<Recipient> = { address: path.address }
  if (path.end === args.length) return recipient
  const wrong = readParameters(args.slice(path.end), recipient, RCPT_PARAMETERS)
  if (!wrong) return recipient
  return wrong.known
    ? { code: 501, enhanced: '5.5.4', text: `RCPT command parameter error: ${wrong.shown}` }
    : { code: 555, enhanced: '5.5.4', text: `RCPT command parameter unrecognized: ${wrong.shown}` }
}

function syntaxReply(syntax: string): SmtpReply {
  return { code: 501, enhanced: '5.5.2', text: `Syntax: ${syntax}` }
}

function endsThere(args: string, end: number): boolean {
  return end === args.length || args[end] === ' '
}

/** Reads each of `KEY` and `KEY=VALUE` into the target; gives back the first one that is wrong, unknown or repeated. */
function readParameters<T>(
  text: string,
  target: Mutable<T>,
  readers: ReadonlyMap<string, ParameterReader<T>>,
): { readonly shown: string; readonly known: boolean } | undefined {
  const seen = new Set<string>()
  for (const parameter of text.split(' ')) {
    if (parameter === '') continue
    const equals = parameter.indexOf('=')
    const key = (equals < 0 ? parameter : parameter.slice(0, equals)).toUpperCase()
    const reader = readers.get(key)
    const right = reader !== undefined && !seen.has(key)
    if (!right || !reader(target, equals < 0 ? '' : parameter.slice(equals + 1))) {
      return { shown: printable(parameter), known: reader !== undefined }
    }
    seen.add(key)
  }
  return undefined
}

function readSize(sender: Mutable<Sender>, value: string): boolean {
  sender.declaredBytes = Number(value)
  return SIZE.test(value)
}

function readBody(sender: Mutable<Sender>, value: string): boolean {
  const body = value.toUpperCase()
  if (body !== '7BIT' && body !== '8BITMIME') return false
  sender.body = body
  return true
}

function readSmtpUtf8(sender: Mutable<Sender>, value: string): boolean {
  sender.smtpUtf8 = true
  return value === ''
}

function readRet(sender: Mutable<Sender>, value: string): boolean {
  const ret = value.toUpperCase()
  if (ret !== 'FULL' && ret !== 'HDRS') return false
  sender.ret = ret
  return true
}

function readEnvid(sender: Mutable<Sender>, value: string): boolean {
  if (value.length <= PARAMETER_OCTETS && decodeXtext(value) !== undefined) sender.envid = value
  return true
}

function readNotify(recipient: Mutable<Recipient>, value: string): boolean {
  const words = value.toUpperCase().split(',')
  const notify = NOTIFY_VALUES.filter((word) => words.includes(word))
  recipient.notify = notify
  const known = words.every((word) => (NOTIFY_VALUES as readonly string[]).includes(word))
  return known && (notify.length === 1 || !notify.includes('NEVER' satisfies Notify))
}

function readOrcpt(recipient: Mutable<Recipient>, value: string): boolean {
  if (isOriginalRecipient(value)) recipient.orcpt = decodePath(value)
  return true
}

function isOriginalRecipient(value: string): boolean {
  const [, type = '', encoded = ''] = ORCPT.exec(value) ?? []
  if (type === '' || value.length > PARAMETER_OCTETS) return false
  return type.toLowerCase() === 'utf-8' ? isUtf8Address(encoded) : isXtext(encoded)
}

/** Xtext, but for `=`: addresses with it (SRS, VERP) come unescaped, and Postfix takes them. */
function isXtext(encoded: string): boolean {
  return decodeXtext(encoded.replaceAll('=', '+3D')) !== undefined
}

/** RFC 6533 section 3: raw UTF-8, `\x{HEX}` for what is special. `+0D` is literal here, but not to every reader. */
function isUtf8Address(encoded: string): boolean {
  return UTF8_ORCPT.test(encoded) && !ESCAPED_CONTROL.test(encoded) && !/\+0[0ad]/i.test(encoded)
}
