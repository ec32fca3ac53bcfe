import { expect, test } from '@jest/globals'
import { type Envelope } from '@ecluse/core'
import { envelope, ID, POLICY, record, VIRUS } from '../test/sample.ts'
import { formatFields, readFields, type ReadFields } from './fields.ts'
import { itemOf, quarantineRecord, summarize, type QuarantineRecord } from './record.ts'

const FACTS = { sizeBytes: 42, digest: 'ab'.repeat(32), subject: 'hello' }

function read(bytes: Buffer): ReadFields {
  const fields = readFields(bytes)
  if (typeof fields === 'number') throw new Error(`wants ${fields} bytes`)
  return fields
}

/** The lines that people and amavisd's tools read: all before our own field. */
function shown(of: QuarantineRecord): string[] {
  const text = formatFields(of, FACTS).toString('latin1')
  return text.slice(0, text.indexOf('X-Ecluse-Quarantine')).split('\r\n').slice(0, -1)
}

test('writes the fields of spam in the order of amavisd', () => {
  const lenient = { ...POLICY, scores: 'highest' as const, tag2Level: 5, killLevel: 20 }
  expect(shown(record({ policies: [lenient] }))).toEqual([
    'Return-Path: <sender@example.net>',
    'X-Envelope-From: <sender@example.net>',
    'X-Envelope-To: <anna@example.org>, <bob@example.org>',
    'X-Envelope-To-Blocked: <bob@example.org>',
    'X-Quarantine-ID: <Abc-123_xyZ9>',
    'X-Spam-Flag: YES',
    'X-Spam-Score: 16.75',
    'X-Spam-Level: ****************',
    'X-Spam-Status: Yes, score=12.5..16.75 tag=-999 tag2=5 kill=15',
    ' tests=[BAYES_99=12.5,URIBL_BLACK=4.25] autolearn=unavailable',
    'Received: from mail.example.org ([127.0.0.1]) by filter.example.org (ecluse)',
    ' with LMTP id Abc-123_xyZ9; Tue, 24 Nov 2026 08:00:00 +0000',
  ])
})

test('writes the fields of a virus, and the null sender', () => {
  expect(shown(record({ assessment: VIRUS, envelope: envelope({ mailFrom: '' }) }))).toEqual([
    'Return-Path: <>',
    'X-Envelope-From: <>',
    'X-Envelope-To: <anna@example.org>, <bob@example.org>',
    'X-Envelope-To-Blocked: <anna@example.org>, <bob@example.org>',
    'X-Quarantine-ID: <Abc-123_xyZ9>',
    'X-Ecluse-Alert: INFECTED, message contains virus: Eicar-Test-Signature,',
    ' Win.Trojan-1',
    'Received: from mail.example.org ([127.0.0.1]) by filter.example.org (ecluse)',
    ' with LMTP id Abc-123_xyZ9; Tue, 24 Nov 2026 08:00:00 +0000',
  ])
})

test('does not call a recipient blocked for whom Postfix comes again', () => {
  const deferring = { ...POLICY, destiny: { ...POLICY.destiny, spam: 'tempfail' as const } }
  expect(shown(record({ policies: [deferring] }))).toContain('X-Envelope-To-Blocked: <bob@example.org>')
})

test('ends with a field that tells everything, and its own length', () => {
  const one = record({ envelope: envelope({ recipients: [{ address: 'é@x' }] }), assessment: VIRUS })
  const bytes = formatFields(one, FACTS)
  const text = bytes.toString('latin1')
  expect(text.slice(text.indexOf('X-Ecluse-Quarantine'))).toBe(
    [
      `X-Ecluse-Quarantine: v=1; header-bytes=${String(bytes.length).padStart(10, '0')};`,
      ' {"id":"Abc-123_xyZ9","category":"virus","storedAt":"2026-11-24T08:00:00.123Z"',
      ' ,"hostname":"filter.example.org","sizeBytes":42,"digest":"abababababababababa',
      ' babababababababababababababababababababababab","subject":"hello","envelope":{',
      ' "protocol":"lmtp","mailFrom":"sender@example.net","recipients":[{"address":"\\',
      ' u00e9@x"}],"smtpUtf8":false,"client":{"address":"192.0.2.7","queueId":"4F5A2C',
      ' "},"peer":{"address":"127.0.0.1","helo":"mail.example.org"},"listener":"127.0',
      ' .0.1:10024"},"outcomes":[{"rcpt":0,"category":"virus","destiny":"discard","lo',
      ' cal":true,"quarantined":true,"reason":"INFECTED: Eicar-Test-Signature, Win.Tr',
      ' ojan-1"}]}',
      '',
    ].join('\r\n'),
  )
})

test('reads back what it wrote', () => {
  const full = envelope({
    recipients: [
      { address: 'anna@example.org', orcpt: 'rfc822;anna+40@example.org', notify: ['SUCCESS', 'FAILURE'] },
      { address: 'bob@example.org', notify: ['NEVER'] },
    ],
    smtpUtf8: true,
    body: '8BITMIME',
    ret: 'HDRS',
    envid: 'x+2By',
    declaredBytes: 99,
  })
  const one = record({ envelope: full })
  const bytes = formatFields(one, FACTS)
  const { entry, headerBytes } = read(Buffer.concat([bytes, Buffer.from('original')]))
  expect(headerBytes).toBe(bytes.length)
  expect(entry).toEqual({
    id: ID,
    category: 'spam',
    storedAt: one.storedAt,
    hostname: 'filter.example.org',
    envelope: full,
    ...FACTS,
    outcomes: full.recipients.map((recipient) => ({
      recipient,
      category: 'spam',
      destiny: 'discard',
      local: true,
      quarantined: true,
      score: 16.75,
      reason: 'spam',
      state: 'kept',
    })),
    releases: [],
  })
  // Recipients are told apart by identity.
  expect(entry.outcomes[1]?.recipient).toBe(entry.envelope.recipients[1])
})

test('tells the keys that scripts rely on, and leaves out what is unknown', () => {
  expect(summarize(itemOf(read(formatFields(record(), FACTS)).entry))).toEqual({
    id: ID,
    category: 'spam',
    storedAt: '2026-11-24T08:00:00.123Z',
    mailFrom: 'sender@example.net',
    recipients: ['anna@example.org', 'bob@example.org'],
    subject: 'hello',
    size: 42,
    score: 16.75,
    reasons: ['spam'],
    states: ['kept', 'kept'],
  })
  const bare = read(formatFields(record({ assessment: VIRUS }), { sizeBytes: 1, digest: '' })).entry
  expect(Object.keys(summarize(itemOf(bare)))).toEqual([
    'id',
    'category',
    'storedAt',
    'mailFrom',
    'recipients',
    'size',
    'reasons',
    'states',
  ])
})

const ADDRESSES = [
  '',
  'root',
  'user..dots@x',
  '"a b"@x',
  '"a@b>, <c"@x',
  '"\\"\\\\"@x',
  'UPPER@Example.ORG',
  'josé@münchen.example',
  '\udc80\udcff@x',
  'é\udca9\u{1f600}@x',
  '\ud800@x',
  'a\r\nX-Envelope-To: <evil@x>@x',
  'a\u0000\u001b[31m@x',
  `${'l'.repeat(300)}@x`,
  '@a,@b:c@d',
  '{"id":"x"}@x',
]

test.each(ADDRESSES)('keeps the address %j exactly', (address) => {
  const sent = envelope({ mailFrom: address, recipients: [{ address }, { address }] })
  expect(read(formatFields(record({ envelope: sent }), FACTS)).entry.envelope).toEqual(sent)
})

test('keeps any text as address, subject and parameter', () => {
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  const units = [
    0x00, 0x0a, 0x0d, 0x20, 0x22, 0x3c, 0x3e, 0x5c, 0x7f, 0x85, 0xe9, 0x2028, 0xd83d, 0xde00, 0xdc80,
  ]
  const text = (): string =>
    String.fromCharCode(...Array.from({ length: random(90) }, () => units[random(units.length)] ?? 0x61))
  for (let round = 0; round < 200; round++) {
    const recipients = Array.from({ length: 1 + random(5) }, () => ({ address: text(), orcpt: text() }))
    const sent: Envelope = envelope({ mailFrom: text(), envid: text(), recipients })
    const facts = { ...FACTS, subject: text() }
    const bytes = formatFields(record({ envelope: sent }), facts)
    const { entry, headerBytes } = read(Buffer.concat([bytes, Buffer.from(text())]))
    expect([entry.envelope, entry.subject, headerBytes]).toEqual([sent, facts.subject, bytes.length])
    expect(bytes.toString('latin1')).toMatch(/^(?:[\x20-\x7e\x80-\xff]+\r\n)+$/)
  }
})

test('writes addresses as the bytes that they were', () => {
  const sent = envelope({ mailFrom: 'é\udca9@x', recipients: [{ address: '\udcff"@x' }] })
  const text = formatFields(record({ envelope: sent }), FACTS).toString('latin1')
  expect(text).toContain('X-Envelope-From: <\xc3\xa9\xa9@x>\r\nX-Envelope-To: <\xff"@x>\r\n')
})

test('folds 1,000 recipients at 78 columns', () => {
  const recipients = Array.from({ length: 1000 }, (_, index) => ({ address: `user${index}@example.org` }))
  const bytes = formatFields(record({ envelope: envelope({ recipients }) }), FACTS)
  for (const line of bytes.toString('latin1').split('\r\n')) expect(line.length).toBeLessThanOrEqual(78)
  expect(read(bytes).entry.outcomes).toHaveLength(1000)
})

const FORGED = [
  'X-Ecluse-Quarantine: v=1; header-bytes=0000000010;\r\n {"id":"evil"}\r\n\r\nbody\r\n',
  'Return-Path: <evil@x>\r\nX-Envelope-From: <evil@x>\r\nX-Envelope-To: <evil@x>\r\n\r\nbody\r\n',
  ' continues our last field\r\n\r\nbody\r\n',
  '\tas well\r\n',
  '\r\nonly a body',
  '',
  '"}]}\r\n',
]

test.each(FORGED)('never takes what the original begins with for its own: %j', (original) => {
  const fields = formatFields(record(), FACTS)
  const { entry, headerBytes } = read(Buffer.concat([fields, Buffer.from(original)]))
  expect([entry.id, entry.envelope.mailFrom, headerBytes]).toEqual([ID, 'sender@example.net', fields.length])
})

test('asks for more bytes wherever the file is cut, and never reads half', () => {
  const bytes = formatFields(record(), FACTS)
  for (let have = 0; have < bytes.length; have++) {
    expect(readFields(bytes.subarray(0, have))).toBeGreaterThan(have)
  }
  expect(typeof readFields(bytes)).toBe('object')
})

test.each([
  ['another file', () => Buffer.from('Subject: x\r\n\r\n')],
  ['a message with the first field', () => Buffer.from('Return-Path: <a@b>\r\nSubject: x\r\n\r\nbody')],
  ['a wrong length', () => changed(/header-bytes=\d+/, 'header-bytes=0000000001')],
  ['a length that is none', () => changed(/header-bytes=\d+/, 'header-bytes=-000000001')],
  ['a changed category', () => changed('"category":"spam"', '"category":"spqm"')],
  ['a recipient of no place', () => changed('"rcpt":0', '"rcpt":9')],
  ['broken JSON', () => changed('{"id"', '["id"')],
  ['no envelope', () => changed('"envelope"', '"envelopf"')],
  ['a subject that is a list', () => changed('"subject":"hello"', '"subject":["he"]')],
  ['points that are text', () => changed('"score":16.75', '"score":"16.7"')],
  ['points without end', () => changed('"score":16.75', '"score":1e999')],
  ['an id that moves the cursor', () => changed('"id":"Abc-123_xyZ9"', '"id":"A\\u001b3_xyZ9"')],
  ['an address of the client that is none', () => changed('"address":"192.0.2.7"', '"address":[192.0,2.7]')],
  ['a queue id that is a number', () => changed('"queueId":"4F5A2C"', '"queueId":40000000')],
  ['a recipient that is none', () => changed('{"address":"bob@example.org"}', 'null')],
  ['flags that are text', () => changed('"local":true', '"local":"on"')],
  [
    'an outcome without its category',
    () => changed('"rcpt":0,"category":"spam"', '"rcpt":0,"categorx":"spam"'),
  ],
  [
    'parameters of another kind',
    () => changed('"mailFrom":"sender@example.net"', '"mailFrom":"s@x","ret":1'),
  ],
])('refuses %s', (_, make) => {
  expect(() => readFields(make())).toThrow(expect.objectContaining({ code: 'E_QUARANTINE' }))
})

test('asks for as many bytes as the length says', () => {
  expect(readFields(changed(/header-bytes=\d+/, 'header-bytes=9999999999'))).toBe(9_999_999_999)
})

/** One change of equal length in our last field, on one line for it. */
function changed(from: string | RegExp, to: string): Buffer {
  const text = formatFields(record(), FACTS).toString('latin1')
  const [front = '', facts = ''] = text.split(/(?<=header-bytes=\d+;\r\n )/)
  const whole = front + facts.slice(0, -2).replaceAll('\r\n ', '')
  expect(whole.replace(from, to)).not.toBe(whole)
  return Buffer.from(`${whole.replace(from, to).padEnd(text.length - 2)}\r\n`, 'latin1')
}

test('files a message under the worst category for which it is kept', () => {
  const one = record()
  const [anna, bob] = one.decisions
  if (anna === undefined || bob === undefined) throw new Error('two decisions')
  const context = { ...one, date: one.storedAt, recipientDelimiter: '' }
  const mixed = [
    { ...anna, category: 'virus' as const, quarantined: false },
    { ...bob, category: 'spam' as const, quarantined: true },
  ]
  expect(quarantineRecord(context, mixed).category).toBe('spam')
  expect(quarantineRecord(context, [{ ...anna, category: 'spammy', quarantined: false }]).category).toBe(
    'spammy',
  )
})
