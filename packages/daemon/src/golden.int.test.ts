import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test } from '@jest/globals'
import { EICAR } from '@ecluse/fixtures'
import { masked, releaseAll, sendMail, startTestDaemon, type TestDaemonOptions } from './daemon.testkit.ts'

afterEach(releaseAll)

const XFORWARD =
  'NAME=mx.example.com ADDR=192.0.2.7 PORT=51712 PROTO=ESMTP HELO=mx.example.com IDENT=4QX1 SOURCE=REMOTE'

test('a spammy message for a local, an outside and a refused recipient', async () => {
  const kit = await startTestDaemon({
    mta: {
      act: ({ stage, line }) =>
        stage === 'rcpt' && line.includes('nobody') ? '550 5.1.1 <nobody@example.org>: unknown' : undefined,
    },
  })
  const original = [
    'Return-Path: <shop@example.com>',
    'From: Shop <shop@example.com>',
    'X-Spam-Flag: NO',
    'To: <marie@example.org>,',
    '\t<paul@elsewhere.example>',
    'Subject: Only today',
    'Message-ID: <1@example.com>',
    '',
    'ECLUSE-TEST-SCORE=7.25 .',
    '.a dot at the start',
    '',
  ].join('\r\n')
  const client = await kit.greet()
  const { dot } = await sendMail(client, {
    from: 'shop@example.com',
    to: ['marie@example.org', 'paul@elsewhere.example', 'nobody@example.org'],
    content: original,
    xforward: XFORWARD,
  })
  expect(dot.map(masked)).toEqual([
    expect.stringMatching(
      /^250 2\.0\.0 from MTA\(smtp:\[127\.0\.0\.1\]:PORT\): 250 2\.0\.0 Ok: queued as 4EV1L\d$/,
    ),
    expect.stringMatching(
      /^250 2\.0\.0 from MTA\(smtp:\[127\.0\.0\.1\]:PORT\): 250 2\.0\.0 Ok: queued as 4EV1L\d$/,
    ),
    '550 5.1.1 id=ID - Rejected by next-hop MTA on relaying, from MTA(smtp:[127.0.0.1]:PORT): 550 5.1.1 <nobody@example.org>: unknown',
  ])

  const copies = kit.mta.transactions.toSorted((a, b) => b.rcpt.length - a.rcpt.length)
  expect(
    copies.map(({ xforward, mail, rcpt }) => ({ xforward, mail: mail.replace(/ SIZE=\d+$/, ''), rcpt })),
  ).toEqual(
    [['marie@example.org', 'nobody@example.org'], ['paul@elsewhere.example']].map((to) => ({
      xforward: [`XFORWARD ${XFORWARD}`],
      mail: 'MAIL FROM:<shop@example.com>',
      rcpt: to.map((address) => `RCPT TO:<${address}>`),
    })),
  )
  const common = ['X-Virus-Scanned: ecluse at filter.example.org', 'X-Virus-Status: Clean']
  const received = [
    'Received: from postfix.example.org ([127.0.0.1]) by filter.example.org',
    ' (ecluse) with LMTP id ID; DATE',
  ]
  const rest = (subject: string): string[] => [
    'Return-Path: <shop@example.com>',
    'From: Shop <shop@example.com>',
    'To: <marie@example.org>,',
    '\t<paul@elsewhere.example>',
    `Subject: ${subject}`,
    'Message-ID: <1@example.com>',
    '',
    'ECLUSE-TEST-SCORE=7.25 .',
    '..a dot at the start',
    '.',
    '',
  ]
  expect(copies.map(({ data }) => masked(data.toString('latin1')).split('\r\n'))).toEqual([
    [
      ...common,
      'X-Spam-Flag: YES',
      'X-Spam-Score: 7.25',
      'X-Spam-Level: *******',
      'X-Spam-Status: Yes, score=7.25 tagged_above=-999 required=6.2',
      ' tests=[ECLUSE_TEST_SCORE=7.25] autolearn=unavailable',
      ...received,
      ...rest('***SPAM*** Only today'),
    ],
    [...common, ...received, ...rest('Only today')],
  ])
  for (const { mail, data } of copies) {
    // SIZE tells what is sent: without the dot that ends it, and without the stuffed one.
    expect(mail).toBe(`MAIL FROM:<shop@example.com> SIZE=${data.length - '.\r\n'.length - '.'.length}`)
  }
})

test('a virus is in quarantine, whole, before anything is said of it', async () => {
  const original = `From: eve@example.com\r\nSubject: invoice\r\n\r\n${EICAR}\r\n`
  const seen: string[] = []
  let folder = ''
  const wrapLog: TestDaemonOptions['wrapLog'] = (log) => ({
    ...log,
    // Called before the reply goes out: what is not there yet would come too late.
    message(record) {
      const path = join(folder, record.id.slice(0, 1), `virus-${record.id}.eml`)
      seen.push(readFileSync(path, 'latin1'))
      log.message(record)
    },
  })
  const kit = await startTestDaemon({ wrapLog })
  folder = kit.quarantineFolder
  const to = ['marie@example.org', 'paul@elsewhere.example']
  const { dot } = await sendMail(await kit.greet(), { from: 'eve@example.com', to, content: original })
  const reply = '250 2.7.0 Ok, discarded, id=ID - INFECTED: Eicar-Test-Signature'
  expect(dot.map(masked)).toEqual([reply, reply])
  expect(seen).toHaveLength(1)
  expect(seen[0]?.endsWith(`\r\n${original}`)).toBe(true)
  expect(masked(seen[0] ?? '')).toContain('X-Quarantine-ID: <ID>\r\n')
  expect(kit.mta.transactions).toEqual([])
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.eml'),
  )
  expect(files).toHaveLength(1)
  expect(kit.messages()).toMatchObject([{ category: 'virus', quarantineId: kit.messages()[0]?.['id'] }])
})

test('a quarantine that cannot be written: 451, nothing is discarded', async () => {
  // A file in the place of the folder: even root cannot write into it.
  const kit = await startTestDaemon()
  const client = await kit.greet()
  rmSync(kit.quarantineFolder, { recursive: true })
  writeFileSync(kit.quarantineFolder, '')
  const { dot } = await sendMail(client, { to: ['r@example.org'], content: `Subject: x\r\n\r\n${EICAR}\r\n` })
  expect(dot.map(masked)).toEqual(['451 4.7.1 Content filter cannot check this message now, id=ID'])
  expect(kit.lines.filter(({ code }) => code === 'E_QUARANTINE')).toHaveLength(1)
})

test('fields that only we may write are removed, however they are written', async () => {
  const kit = await startTestDaemon()
  const forged = [
    'X-Spam-Flag: NO',
    'x-spam-status: No, score=-100',
    ' tests=[FORGED]',
    'X-SPAM-Anything-Else: 1',
    'X-Virus-Scanned: nothing at all',
    'X-Virus-Status: Clean',
    'X-Quarantine-ID: <forged000000>',
    'X-Ecluse-Alert: none',
    'X-Ecluse-Whatever:',
    'X-Amavis-Alert: none',
    'X-Amavis-Hold : yes',
  ]
  const kept = ['From: eve@example.com', 'X-Spammer: no', 'X-Virusology: yes', 'Subject: X-Spam-Flag: YES']
  const content = `${forged.join('\r\n')}\r\n${kept.join('\r\n')}\r\n${forged.join('\r\n')}\r\n\r\nX-Spam-Flag: in the body\r\n`
  await sendMail(await kit.greet(), { to: ['r@elsewhere.example'], content })
  const [copy] = kit.mta.transactions
  const text = masked(copy?.data.toString('latin1') ?? '')
  expect(text.split('\r\n')).toEqual([
    'X-Virus-Scanned: ecluse at filter.example.org',
    'X-Virus-Status: Clean',
    'Received: from postfix.example.org ([127.0.0.1]) by filter.example.org',
    ' (ecluse) with LMTP id ID; DATE',
    ...kept,
    '',
    'X-Spam-Flag: in the body',
    '.',
    '',
  ])
})
