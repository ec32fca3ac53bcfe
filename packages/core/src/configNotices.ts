import { z } from 'zod'
import { choice, count, flag, mailAddress, path, section } from './schema.ts'

/** Languages that there are texts for. */
const NOTICE_LANGUAGES = ['en', 'fr'] as const
export type NoticeLanguage = (typeof NOTICE_LANGUAGES)[number]

/** Who is told what by mail. */
export interface NoticesConfig {
  /** Who is told of viruses; absent: nobody. */
  readonly admin?: string
  /** Single mails to the administrator in an hour; what is above goes into one. */
  readonly adminRate: number
  /** Whether local recipients get a list of what is kept for them, once a day. */
  readonly recipients: boolean
  /** `HH:MM`, in the time zone of the process. */
  readonly digestTime: string
  /** Whether our own senders are told of mail that was kept from its recipients. */
  readonly senders: boolean
  /** Most mails to senders in 24 hours: DSNs and notices. */
  readonly bounceBudget: number
  /** What the mails have in From:; absent: postmaster at `hostname`. */
  readonly from?: string
  readonly language: NoticeLanguage
  /** Folder with texts of one's own. */
  readonly templates?: string
}

const TIME = 'expected a time such as "07:00", in quotes'

/** `notices`. */
export function noticesSection() {
  return section(
    'Mail about mail: to the administrator, local recipients and our own senders; never outside.',
    {
      admin: mailAddress('Who is told of viruses; absent: nobody.').exactOptional(),
      adminRate: count('Mails to the administrator in an hour; what is above goes into one.', {
        min: 1,
        max: 1000,
      }).prefault(10),
      recipients: flag(
        'Whether recipients in localDomains get a daily list of what is kept for them.',
      ).prefault(false),
      digestTime: z
        .string({ error: TIME })
        .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, { error: TIME })
        .meta({ description: 'When, in local time.', notation: 'time HH:MM' })
        .prefault('07:00'),
      senders: flag(
        'Whether our own senders, in localDomains and from `networks`, are told of mail that was kept or discarded.',
      ).prefault(false),
      bounceBudget: count(
        'Most mails to senders in 24 hours, reports of destiny bounce and notices together.',
        {
          max: 100_000,
        },
      ).prefault(100),
      from: mailAddress('Their From:, and whom to ask; absent: postmaster at hostname.').exactOptional(),
      language: choice('Language of the texts.', NOTICE_LANGUAGES).prefault('en'),
      templates: path('Folder with texts of your own; those that are not there are ours.').exactOptional(),
    },
  )
}
