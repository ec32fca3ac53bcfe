import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  GTUBE,
  describeWith,
  startClamd,
  startMailSystem,
  startRspamd,
  startSpamd,
  type MailSystem,
  type Service,
  type SinkMessage,
  mailDate,
} from '@ecluse/fixtures'

let system: MailSystem
const services: Service[] = []

const SPAMMY = 'ecluse-spammy-marker'
/** No rule of the two spam scanners may push a plain message over a level: only the marker's points count. */
const spamdRules = `body ECLUSE_MARKER /${SPAMMY}/\nscore ECLUSE_MARKER 8`

/** Starts all of it, at the same time where one does not need the other. */
async function start(): Promise<void> {
  const [clamd, spamd, rspamd] = await Promise.all([
    startClamd(),
    startSpamd({ rules: spamdRules }),
    startRspamd(),
  ])
  services.push(clamd, spamd, rspamd)
  system = await startMailSystem({
    yaml: `localDomains: [example.org]
scanners:
  - { kind: clamd, address: 'unix:${clamd.socketPath}' }
  - { kind: spamd, address: '127.0.0.1:${spamd.port}', maxSize: 2MiB, onError: tempfail }
  - { kind: rspamd, url: '${rspamd.url}', maxSize: 2MiB, onError: tempfail }`,
    mainCf: {
      smtp_destination_recipient_limit: '1000',
      relay_destination_recipient_limit: '1000',
      // The one domain whose next hop has no DSN.
      transport_maps: 'inline:{dsn.example.org=nodsn:[127.0.0.1]:SINK}',
    },
    masterCf: 'nodsn unix - - n - - smtp -o smtp_discard_ehlo_keywords=dsn\n',
  })
}

const header = (subject: string, more: readonly string[] = []): string =>
  [
    `Date: ${mailDate()}`,
    'From: Marie Duval <marie@example.net>',
    'To: Paul Lefort <paul@example.org>',
    `Subject: ${subject}`,
    `Message-ID: <${subject.replace(/\W+/g, '.')}@example.net>`,
    ...more,
    '',
    '',
  ].join('\r\n')

/** 127.0.0.1 speaks for a client on the Internet. */
const fromOutside = ['XCLIENT ADDR=192.0.2.7 NAME=client.example HELO=client.example', 'EHLO client.example']

const envelope = { mailFrom: 'marie@example.net', recipients: ['paul@example.org'] }

/** Header and body of what came to the sink; latin1. */
function split(message: SinkMessage | undefined): { readonly header: string; readonly body: string } {
  const text = message?.data.toString('latin1') ?? ''
  const end = text.indexOf('\r\n\r\n')
  return { header: text.slice(0, end + 2), body: text.slice(end + 4) }
}

/** Values of the fields of that name, folded lines joined. */
function fields(message: SinkMessage | undefined, name: string): string[] {
  const unfolded = split(message).header.replace(/\r\n(?=[ \t])/g, '')
  const start = `${name.toLowerCase()}:`
  return unfolded
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(start))
    .map((line) => line.slice(start.length).trim())
}

const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex')

/** Which process says what about a message, from Postfix's log. */
function logged(queueId: string): string[] {
  return system.postfix
    .log()
    .split('\n')
    .filter((line) => line.includes(` ${queueId}: `))
}

const describePostfix = describeWith({ describe, beforeAll }, 'postfix', 'clamd', 'spamd', 'rspamd')

describePostfix('a mail through Postfix, clamd, spamd and rspamd', () => {
  beforeAll(start, 120_000)

  afterAll(async () => {
    await system?.close()
    await Promise.all(services.map(async (service) => await service.close()))
  })

  test('delivers ham with its marks, once', async () => {
    const data = `${header('ham')}Hello Paul\r\n`
    const { delivered, line } = await system.pass({ ...envelope, before: fromOutside, data })
    const [mail] = delivered
    expect(fields(mail, 'X-Virus-Status')).toEqual(['Clean'])
    expect(fields(mail, 'X-Virus-Scanned')).toEqual([expect.stringMatching(/^ecluse at \S+$/)])
    expect(fields(mail, 'X-Spam-Flag')).toEqual(['NO'])
    expect(fields(mail, 'X-Spam-Status')).toEqual([
      expect.stringMatching(/^No, score=-?[\d.]+ tagged_above=-999 required=6\.2 tests=\[.*\] autolearn=/),
    ])
    expect(fields(mail, 'Subject')).toEqual(['ham'])
    expect(split(mail).body).toBe('Hello Paul\r\n')
    expect(line).toMatchObject({ category: 'clean', direction: 'inbound', mailFrom: 'marie@example.net' })
    expect(line.scanners.map(({ name, verdict }) => `${name} ${verdict}`)).toEqual([
      'clamd clean',
      'spamd clean',
      'rspamd clean',
    ])
  })

  test('marks spammy mail and its subject, for local recipients only', async () => {
    const { delivered, line } = await system.pass(
      {
        ...envelope,
        recipients: ['paul@example.org', 'friend@example.com', 'anna@example.org'],
        data: `${header('an offer')}${SPAMMY}\r\n`,
      },
      2,
    )
    expect(line.category).toBe('spammy')
    const local = delivered.find(({ recipients }) => recipients.length === 2)
    const outside = delivered.find(({ recipients }) => recipients.length === 1)
    expect(local?.recipients.map(({ address }) => address)).toEqual(['anna@example.org', 'paul@example.org'])
    expect(fields(local, 'Subject')).toEqual(['***SPAM*** an offer'])
    expect(fields(local, 'X-Spam-Flag')).toEqual(['YES'])
    expect(fields(local, 'X-Spam-Status')).toEqual([
      expect.stringMatching(/^Yes, .*tests=\[.*ECLUSE_MARKER=8/),
    ])
    expect(outside?.recipients.map(({ address }) => address)).toEqual(['friend@example.com'])
    expect(fields(outside, 'Subject')).toEqual(['an offer'])
    expect(split(outside).header).not.toMatch(/^X-Spam-/im)
    expect(fields(outside, 'X-Virus-Status')).toEqual(['Clean'])
  })

  test.each([
    ['GTUBE', 'spam', `${header('spam')}${GTUBE}\r\n`, /discarded, id=\S+ - spam$/],
    [
      'EICAR in a base64 attachment',
      'virus',
      `${header('virus', ['MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b'])}${[
        '--b',
        'Content-Type: text/plain',
        '',
        'see below',
        '--b',
        'Content-Type: application/octet-stream; name=eicar.com',
        'Content-Transfer-Encoding: base64',
        '',
        Buffer.from(EICAR).toString('base64'),
        '--b--',
        '',
      ].join('\r\n')}`,
      /discarded, id=\S+ - INFECTED: Eicar\S+/,
    ],
  ])('keeps %s, and Postfix logs it as sent', async (_name, category, data, reply) => {
    const { line, queueId } = await system.pass({ ...envelope, data }, 0)
    expect(line).toMatchObject({ category, quarantineId: line.id })
    expect(line.recipients[0]?.reply).toMatch(reply)
    const id = line.quarantineId ?? ''
    const kept = await readdir(join(system.ecluse().directory, 'quarantine'), { recursive: true })
    expect(kept.join('\n')).toContain(id)
    expect(logged(queueId).join('\n')).toContain(`status=sent (250 2.7.0 Ok, discarded, id=${id} - `)
  })

  test.each([
    ['8-bit text', 'BODY=8BITMIME', `Gr\xfc\xdfe, ${Buffer.from('日本').toString('latin1')}\xff\r\n`],
    ['a line over 998 octets', '', `${'0123456789'.repeat(500)}\r\nend\r\n`],
    ['leading dots', '', '.\r\n..\r\n...x\r\n.x.\r\n\r\n.\r\n'],
    ['blank lines and blanks at line ends', '', '\r\n\r\n a \t \r\n\t\r\n\r\n\r\n'],
    ['an empty body', '', ''],
    ['NUL and control characters', 'BODY=8BITMIME', 'a\x00b\x01\x1b[2J\x7f\x0c\r\n'],
  ])('changes no byte of %s', async (_name, parameters, body) => {
    const { delivered } = await system.pass({ ...envelope, parameters, data: header('bytes') + body })
    expect(split(delivered[0]).body).toBe(body)
  })

  test('ends a last line without CRLF as SMTP does', async () => {
    const { delivered } = await system.pass({ ...envelope, data: `${header('no end')}last line` })
    expect(split(delivered[0]).body).toBe('last line\r\n')
  })

  test('hands over 30 MB unchanged', async () => {
    const body = `${createHash('sha512').update('seed').digest('hex').slice(0, 76)}\r\n`.repeat(384_615)
    expect(body.length).toBeGreaterThan(29_999_000)
    const { delivered, line } = await system.pass({ ...envelope, data: header('large') + body })
    const got = split(delivered[0]).body
    expect({ length: got.length, sha256: sha256(got) }).toEqual({
      length: body.length,
      sha256: sha256(body),
    })
    expect(line.recipients[0]?.category).toBe('clean')
  })

  test('asks once for 100 recipients, and each gets it once', async () => {
    const recipients = Array.from({ length: 100 }, (_, index) => `user${index}@example.org`)
    const before = system.ecluse().messages().length
    const { delivered, line } = await system.pass({
      ...envelope,
      recipients,
      data: `${header('many')}Hello all\r\n`,
    })
    expect(system.ecluse().messages().length - before).toBe(1)
    expect(line.recipients.map(({ address }) => address).toSorted()).toEqual(recipients.toSorted())
    const reached = delivered.flatMap((mail) => mail.recipients.map(({ address }) => address))
    expect(reached.toSorted()).toEqual(recipients.toSorted())
  })

  test.each([
    ['the null sender', '', '', 'paul@example.org'],
    [
      'an internationalized local part',
      Buffer.from('zoé@example.net').toString('latin1'),
      'BODY=8BITMIME SMTPUTF8',
      Buffer.from('rené@example.org').toString('latin1'),
    ],
    ['a quoted local part', '"a b"@example.net', '', '"c\\"d e"@example.org'],
    ['capitals', 'Marie.DUVAL@example.net', '', 'Paul.LEFORT@example.org'],
  ])('hands on %s', async (_name, mailFrom, parameters, recipient) => {
    const data = `${header('addresses')}Hello\r\n`
    const { delivered, line } = await system.pass({ mailFrom, parameters, recipients: [recipient], data })
    const decode = (text: string): string => Buffer.from(text, 'latin1').toString('utf8')
    expect(line.mailFrom).toBe(decode(mailFrom))
    expect(line.recipients[0]?.address).toBe(decode(recipient))
    expect(delivered[0]?.mailFrom).toBe(mailFrom)
    expect(delivered[0]?.recipients[0]?.address).toBe(recipient)
    expect(delivered[0]?.parameters.includes('SMTPUTF8')).toBe(parameters.includes('SMTPUTF8'))
  })

  test('hands on what the sender wants to be told, and tells nothing itself', async () => {
    const { delivered, queueId } = await system.pass({
      ...envelope,
      parameters: 'RET=HDRS ENVID=QQ314159',
      recipients: [
        ['paul@example.org', 'NOTIFY=SUCCESS,DELAY ORCPT=rfc822;chef+2Bx@example.org'],
        ['anna@example.org', 'NOTIFY=NEVER'],
      ],
      data: `${header('notify')}Hello\r\n`,
    })
    expect(delivered[0]?.parameters).toEqual(expect.arrayContaining(['RET=HDRS', 'ENVID=QQ314159']))
    expect(delivered[0]?.recipients).toEqual([
      { address: 'anna@example.org', parameters: ['ORCPT=rfc822;anna@example.org', 'NOTIFY=NEVER'] },
      {
        address: 'paul@example.org',
        parameters: ['ORCPT=rfc822;chef+2Bx@example.org', 'NOTIFY=SUCCESS,DELAY'],
      },
    ])
    expect(logged(queueId).join('\n')).not.toContain('sender delivery status notification')
  })

  test('leaves the notice of success to the last hop, which sends one', async () => {
    const { delivered, line } = await system.pass(
      {
        ...envelope,
        recipients: [['paul@dsn.example.org', 'NOTIFY=SUCCESS ORCPT=rfc822;chef@dsn.example.org']],
        data: `${header('notify me')}Hello\r\n`,
      },
      2,
    )
    const notice = delivered.find(({ mailFrom }) => mailFrom === '')
    expect(notice?.recipients.map(({ address }) => address)).toEqual(['marie@example.net'])
    expect(notice?.data.toString('latin1')).toContain('Original-Recipient: rfc822;chef@dsn.example.org')
    const after = line.recipients[0]?.queuedAs ?? ''
    expect(logged(after).join('\n')).toContain('sender delivery status notification')
  })

  test('tells Postfix behind the filter who the client is', async () => {
    const data = `${header('client')}Hello\r\n`
    const { line, queueId } = await system.pass({ ...envelope, before: fromOutside, data })
    expect(line).toMatchObject({ client: '192.0.2.7', helo: 'client.example' })
    const after = logged(line.recipients[0]?.queuedAs ?? '')
    const accepted = after.find((entry) => entry.includes('postfix/reentry/smtpd'))
    expect(accepted).toContain(`orig_queue_id=${queueId}, orig_client=client.example[192.0.2.7]`)
    // The connection is kept: the next mail must not inherit the client.
    const next = await system.pass({ ...envelope, data })
    const later = logged(next.line.recipients[0]?.queuedAs ?? '')
    expect(later.join('\n')).toContain(`orig_queue_id=${next.queueId}, orig_client=unknown[127.0.0.1]`)
  })

  test('had nothing to warn of', () => {
    expect(system.postfix.log()).not.toMatch(/ (?:warning|fatal|panic|error): /)
    expect(system.postfix.log()).not.toContain('status=bounced')
    expect(
      system
        .ecluse()
        .log()
        .filter(({ level }) => level === 'error' || level === 'warn'),
    ).toEqual([])
  })
})
