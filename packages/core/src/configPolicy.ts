import { z } from 'zod'
import {
  BLEMISHES,
  DESTINIES,
  NOTICE_AUDIENCES,
  SCORE_RULES,
  type Blemish,
  type Destiny,
  type Policy,
  type VirusMeaning,
} from './policy.ts'
import { CONCERNS } from './scanner.ts'
import { choice, list, points, section, size, text } from './schema.ts'
import type { Category } from './verdict.ts'

/** `policy`. */
export function policySection() {
  const { quarantineCutoffLevel, scanners, messageSize, ...keys } = policyKeys()
  return section('What is done with the message for each recipient.', {
    tagLevel: keys.tagLevel.prefault(-999),
    tag2Level: keys.tag2Level.prefault(6.2),
    killLevel: keys.killLevel.prefault(15),
    quarantineCutoffLevel: quarantineCutoffLevel.exactOptional(),
    bounceCutoffLevel: keys.bounceCutoffLevel.prefault(25),
    subjectTag: keys.subjectTag.prefault('***SPAM*** '),
    subjectTags: keys.subjectTags.prefault({}),
    scores: keys.scores.prefault('sum'),
    destiny: section(DESTINY_DOC, {
      virus: destinies.virus.prefault('discard'),
      banned: destinies.banned.prefault('discard'),
      spam: destinies.spam.prefault('discard'),
      spammy: destinies.spammy.prefault('pass'),
      unchecked: destinies.unchecked.prefault('pass'),
      'bad-header': destinies['bad-header'].prefault('pass'),
      oversized: destinies.oversized.prefault('reject'),
    }).prefault({}),
    quarantine: keys.quarantine.prefault(['virus', 'banned', 'spam']),
    deliverAnyway: keys.deliverAnyway.prefault([]),
    bypass: keys.bypass.prefault([]),
    scanners: scanners.exactOptional(),
    virusNames: keys.virusNames.prefault({}),
    addressExtension: keys.addressExtension.prefault({}),
    removeHeaders: keys.removeHeaders.prefault([]),
    messageSize: messageSize.exactOptional(),
    notices: keys.notices.prefault([...NOTICE_AUDIENCES]),
  }).superRefine((policy, context) => {
    refuseBounces(policy.destiny, { context, path: ['destiny'], ours: false })
    const levels = ['tagLevel', 'tag2Level', 'killLevel'] as const
    levels.forEach((level, index) => {
      const below = levels[index - 1]
      if (below === undefined || policy[level] >= policy[below]) return
      context.addIssue({
        code: 'custom',
        path: [level],
        message: `expected at least ${below} (${policy[below]})`,
      })
    })
  })
}

/** The `policy` of an overlay: the same keys, none of them needed. */
export function overlaySection() {
  return section('What is different where it applies: any keys of `policy`.', {
    ...optional(policyKeys()),
    destiny: section(DESTINY_DOC, optional(destinies)).exactOptional(),
  })
}

function optional<T extends z.ZodRawShape>(shape: T): { [K in keyof T]: z.ZodExactOptional<T[K]> } {
  const entries = Object.entries(shape).map(([key, schema]) => [key, z.exactOptional(schema)])
  return Object.fromEntries(entries) as { [K in keyof T]: z.ZodExactOptional<T[K]> }
}

function policyKeys() {
  return {
    tagLevel: points('Spam points from which local recipients get spam headers.'),
    tag2Level: points('Spam points from which a message is "spammy": X-Spam-Flag: YES and the subject tag.'),
    killLevel: points('Spam points from which a message is "spam".'),
    quarantineCutoffLevel: points('Spam points from which no copy of spam is kept; absent: never.'),
    bounceCutoffLevel: points('Spam points from which a bounce is not sent, and a copy kept instead.'),
    subjectTag: text('Put before the subject of spammy mail and spam; "" for none.', { max: 100 }),
    subjectTags: byCategory('The same for the categories it names.', text('Tag.', { max: 100 })),
    scores: choice('How the points of several scanners become one number.', SCORE_RULES),
    quarantine: categories('Categories of which a copy is kept.'),
    deliverAnyway: categories('Categories that are delivered whatever their destiny says.'),
    bypass: list(
      'What mail is not looked at for; a scanner is left out when nobody wants it.',
      choice('Concern.', CONCERNS),
    ),
    scanners: list('Names of the scanners that count; absent: all.', scannerName(), { max: 100 }),
    virusNames: virusNames(),
    addressExtension: byCategory(
      'Extension that local recipients get, such as spam for user+spam@; spammy mail goes where spam goes.',
      extension(),
    ),
    removeHeaders: list('Header fields that do not pass; a final * is any rest.', fieldName(), { max: 100 }),
    messageSize: size('A larger message is "oversized"; absent: no limit of its own.', {
      min: '1KiB',
      max: '2GiB',
    }),
    notices: list(
      'Who may be told of mail, where `notices` tells anybody.',
      choice('Who.', NOTICE_AUDIENCES),
    ),
  }
}

const DESTINY_DOC =
  'What is done with each category: pass, discard, reject or tempfail; bounce only where `when` has originating: true.'

const MEANINGS: Readonly<Record<Blemish, string>> = {
  virus: 'A scanner found a virus.',
  banned: 'An attachment is of a forbidden type.',
  spam: 'At killLevel or above.',
  spammy: 'At tag2Level or above.',
  unchecked: 'Encrypted, too large, or a scanner with onError: unchecked failed.',
  'bad-header': 'The header breaks RFC 5322.',
  oversized: "Above the recipient's own limit.",
}

/** What fits everywhere. */
const ORDINARY = DESTINIES.filter((word) => word !== 'bounce')

const destinies = {
  virus: destiny('virus'),
  banned: destiny('banned'),
  spam: destiny('spam'),
  spammy: destiny('spammy'),
  unchecked: destiny('unchecked'),
  'bad-header': destiny('bad-header'),
  oversized: destiny('oversized'),
}

function destiny(category: Blemish) {
  const error = `expected one of: ${ORDINARY.join(', ')}`
  return z
    .string({ error })
    .transform((word, context): Destiny => {
      const known = DESTINIES.find((name) => name === word)
      if (known !== undefined) return known
      // amavisd's D_BOUNCE, which has most often been meant for everybody.
      if (/^(?:d_)?bounce$/i.test(word)) context.addIssue({ code: 'custom', ...FORGED })
      else context.addIssue({ code: 'invalid_value', values: [...ORDINARY], message: error, input: word })
      return z.NEVER
    })
    .meta({ description: MEANINGS[category], notation: ORDINARY.join(' | ') })
}

const FORGED = {
  message: 'bounce is only for our own senders: others are forged',
  params: {
    hint: 'use discard or reject, or write bounce in policies with when: { originating: true }',
  },
} as const

const FORGED_BY_VIRUS = {
  message: 'bounce is not for viruses: they forge the sender',
  params: { hint: 'use discard, or reject: Postfix then tells the sender' },
} as const

/**
 * Adds an issue for each destiny `bounce` that could answer somebody outside.
 *
 * @param ours whether the policy is for mail of our own clients alone
 */
export function refuseBounces(
  destiny: Partial<Policy['destiny']> | undefined,
  where: {
    readonly context: z.core.$RefinementCtx
    readonly path: readonly string[]
    readonly ours: boolean
  },
): void {
  const { context, path, ours } = where
  for (const category of BLEMISHES) {
    if (destiny?.[category] !== 'bounce') continue
    if (ours && category !== 'virus') continue
    const issue = ours ? FORGED_BY_VIRUS : FORGED
    context.addIssue({ code: 'custom', path: [...path, category], ...issue })
  }
}

function categories(doc: string) {
  return list(doc, choice('Category.', BLEMISHES as [Category]))
}

/** A section with the categories as keys, none of them needed. */
function byCategory<T extends z.ZodType>(doc: string, value: T) {
  const entry = (category: Blemish) =>
    z.exactOptional(value.meta({ ...value.meta(), description: MEANINGS[category] }))
  return section(doc, {
    virus: entry('virus'),
    banned: entry('banned'),
    unchecked: entry('unchecked'),
    spam: entry('spam'),
    spammy: entry('spammy'),
    'bad-header': entry('bad-header'),
    oversized: entry('oversized'),
  })
}

const VIRUS_MEANING = 'expected a number of points, ignore or virus'

const VIRUS_NAME = 'expected a name with * and ?, of printable ASCII without blanks'

function virusNames() {
  const pattern = z.string().regex(/^[\x21-\x7e]{1,200}$/)
  const meaning = z
    .union([points('Points.'), z.literal('ignore'), z.literal('virus')], { error: VIRUS_MEANING })
    .transform((value): VirusMeaning => value)
    .meta({ description: 'What it stands for.', notation: 'points | ignore | virus' })
  const error = ({ code }: { readonly code?: string | undefined }): string =>
    code === 'invalid_key' ? VIRUS_NAME : 'expected a section with names as keys'
  return z.record(pattern, meaning, { error }).meta({
    description:
      'Virus names that are none, with * and ?: points that count as spam, ignore, or virus; the first that fits.',
    notation: 'section of NAME: points | ignore | virus',
  })
}

function scannerName() {
  const error = 'expected the name of a scanner'
  return z.string({ error }).meta({ description: 'Name.', notation: 'name' })
}

function extension() {
  const error = 'expected 1–40 letters, digits, hyphens or underscores'
  return z
    .string({ error })
    .regex(/^[A-Za-z0-9_-]{1,40}$/, { error })
    .meta({ description: 'Extension.', notation: 'extension' })
}

/** Fields without which Postfix loses track of a message, or readers cannot show it. */
const INDISPENSABLE = /^(?:received|from|date|message-id|mime-version|content-.*)$/i

function fieldName() {
  const error = 'expected the name of a header field such as X-Mailer or X-Acme-*'
  return z
    .string({ error })
    .superRefine((name, context) => {
      // A short name with a star would take fields that nobody meant.
      if (/^(?:[A-Za-z0-9_-]{2,80}|X-[A-Za-z0-9_-]{1,80}\*)$/i.test(name)) return
      const hint = name.includes('*')
        ? 'a star stands only at the end, behind X- and at least one more character'
        : name.endsWith(':')
          ? 'leave out the colon'
          : undefined
      context.addIssue({ code: 'custom', message: error, ...(hint !== undefined && { params: { hint } }) })
    })
    .refine((name) => !INDISPENSABLE.test(name), { error: 'a message needs this field' })
    .meta({ description: 'Field.', notation: 'field name' })
}

/** The policy of a configuration that says nothing about it. */
export const DEFAULT_POLICY: Policy = policySection().parse({})
