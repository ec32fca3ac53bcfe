import { CATEGORIES, DESTINIES, NOTIFY_VALUES, type Category, type Envelope } from '@ecluse/core'
import type { QuarantineOutcome } from './record.ts'

/**
 * What the last field of a file tells. JSON keeps every string exactly: quotes, controls, UTF-8, and the lone surrogates
 * that stand for raw bytes.
 */
export interface Facts {
  readonly id: string
  readonly category: Category
  readonly storedAt: string
  readonly hostname: string
  readonly sizeBytes: number
  readonly digest: string
  readonly subject?: string
  readonly envelope: Envelope
  /** `rcpt`: index in the envelope's recipients. */
  readonly outcomes: readonly (Omit<QuarantineOutcome, 'recipient' | 'state'> & { readonly rcpt: number })[]
}

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string'
const isFlag: Check = (value) => typeof value === 'boolean'
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0
const isWord: Check = (value) => isText(value) && /^[\w-]+$/.test(String(value))
const isTime: Check = (value) => isText(value) && !Number.isNaN(Date.parse(String(value)))

const oneOf =
  (values: readonly unknown[]): Check =>
  (value) =>
    values.includes(value)

const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)

const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check)

/** Keys that are not named may be there: of a version that we do not know. */
const shape = (fields: Readonly<Record<string, Check>>): Check => {
  const checks = Object.entries(fields)
  return (value) =>
    typeof value === 'object' &&
    value !== null &&
    checks.every(([name, check]) => check((value as Readonly<Record<string, unknown>>)[name]))
}

const isFacts = shape({
  id: isWord,
  category: oneOf(CATEGORIES),
  storedAt: isTime,
  hostname: isText,
  sizeBytes: isCount,
  digest: isText,
  subject: optional(isText),
  envelope: shape({
    protocol: oneOf(['lmtp', 'smtp']),
    mailFrom: isText,
    recipients: listOf(
      shape({ address: isText, orcpt: optional(isText), notify: optional(listOf(oneOf(NOTIFY_VALUES))) }),
    ),
    smtpUtf8: isFlag,
    body: optional(oneOf(['7BIT', '8BITMIME'])),
    ret: optional(oneOf(['FULL', 'HDRS'])),
    envid: optional(isText),
    declaredBytes: optional(isCount),
    client: shape({
      address: optional(isText),
      port: optional(isCount),
      name: optional(isText),
      helo: optional(isText),
      protocol: optional(isText),
      queueId: optional(isText),
      source: optional(oneOf(['LOCAL', 'REMOTE'])),
    }),
    peer: shape({ address: optional(isText), port: optional(isCount), helo: isText, tls: optional(isText) }),
    listener: isText,
  }),
  outcomes: listOf(
    shape({
      rcpt: isCount,
      category: oneOf(CATEGORIES),
      destiny: oneOf(DESTINIES),
      local: isFlag,
      quarantined: isFlag,
      score: optional(Number.isFinite),
      reason: isText,
    }),
  ),
})

/** Whether it is what a file tells, with each value of its kind: a file can be damaged, and people look at it. */
export function isSound(facts: unknown): facts is Facts {
  return isFacts(facts)
}
