import type { Decision, Envelope, NoticeLanguage } from '@ecluse/core'
import { composeDsn } from './dsn.ts'
import { composeNotice, type ComposedNotice, type NoticeMessage, type NoticeSender } from './notice.ts'
import { loadNoticeTemplates, type NoticeTextKind } from './noticeTemplates.ts'

export const NOTICE_DATE = new Date('2026-11-24T15:00:00Z')

export async function noticeSender(language: NoticeLanguage = 'en'): Promise<NoticeSender> {
  const templates = await loadNoticeTemplates(language)
  return { hostname: 'mail.example.org', from: 'postmaster@example.org', templates }
}

export function noticeMessage(changes: Partial<NoticeMessage> = {}): NoticeMessage {
  return {
    id: 'OWq7VHtyZuJm',
    kept: 'OWq7VHtyZuJm',
    date: NOTICE_DATE,
    mailFrom: 'marie@example.net',
    subject: 'Relevé de compte',
    client: '192.0.2.7',
    queueId: '4XyZ1234',
    sizeBytes: 20_000,
    viruses: ['Win.Test.EICAR_HDB-1'],
    recipients: [{ address: 'paul@example.org', category: 'virus', destiny: 'discard' }],
    ...changes,
  }
}

export const HEADER = Buffer.from(
  [
    'Message-ID: <20261124.1@example.org>',
    'From: Anne <anne@example.org>',
    'To: bob@example.com',
    'Subject: =?utf-8?Q?R=C3=A9ponse?=',
    '',
    '',
  ].join('\r\n'),
)

export function bouncedEnvelope(changes: Partial<Envelope> = {}): Envelope {
  return {
    protocol: 'lmtp',
    mailFrom: 'anne@example.org',
    recipients: [],
    smtpUtf8: false,
    client: { address: '127.0.0.1', queueId: '4XyZ1234' },
    peer: { helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
    envid: 'QQ314159+2Bx',
    ...changes,
  }
}

/** Only what a DSN tells of a decision. */
export function bounced(recipient: Decision['recipient'], changes: Partial<Decision> = {}): Decision {
  return { recipient, category: 'spam', destiny: 'bounce', reason: 'spam', ...changes } as Decision
}

/** One of each kind; of one date always the same. */
export async function sampleNotice(
  kind: NoticeTextKind,
  language: NoticeLanguage,
  date = NOTICE_DATE,
): Promise<ComposedNotice> {
  const sender = await noticeSender(language)
  const recipients = [{ address: 'bob@example.com', category: 'spam', destiny: 'discard' }] as const
  const ours = noticeMessage({ mailFrom: 'anne@example.org', subject: 'Réponse', viruses: [], recipients })
  if (kind === 'dsn') {
    const recipient = { address: 'bob@example.com', orcpt: 'rfc822;bob+2Bnews@example.com' }
    const request = {
      envelope: bouncedEnvelope(),
      about: [bounced(recipient)],
      message: ours,
      header: HEADER,
    }
    return await composeDsn(sender, { ...request, date })
  }
  const about = {
    admin: { to: 'postmaster@example.org', messages: [noticeMessage()] },
    sender: { to: 'anne@example.org', messages: [ours] },
    recipients: {
      to: 'paul@example.org',
      messages: [
        noticeMessage(),
        noticeMessage({
          id: 'a1B2c3D4e5F6',
          mailFrom: 'offers@shop.example',
          subject: 'Offers of the week',
          release:
            'https://mail.example.org/quarantine/release/a1B2c3D4e5F6?to=paul%40example.org&key=Zm9yIHRoZSBzYW1wbGUsIG5vIHJlYWwgc2VjcmV0LCAzMg',
          recipients: [{ address: 'paul@example.org', category: 'spam', destiny: 'discard' }],
        }),
      ],
    },
  }[kind]
  return await composeNotice(sender, { kind, date, id: `OWq7VHtyZuJm.${kind}`, ...about })
}
