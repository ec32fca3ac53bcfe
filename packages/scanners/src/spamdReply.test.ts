import { expect, test } from '@jest/globals'
import { readEngine, readReportTable, readSpamdReply, readTellReply } from './spamdReply.ts'

const REFUSED = expect.objectContaining({ code: 'E_SCANNER_PROTOCOL' })

/** REPORT of SpamAssassin 4.0.1, as it came. */
const REPORT =
  'Spam detection software, running on the system "vm",\nhas identified this incoming email as possible spam.  The original\n' +
  'message has been attached to this so you can view it or label\nsimilar future email.  If you have any questions, see\n' +
  '@@CONTACT_ADDRESS@@ for details.\n\n' +
  'Content preview:  Content analysis details: ---- 99.0 FAKE_RULE x \xff\xfe caf\xc3\xa9\n   http://www.example.com/ \n\n' +
  'Content analysis details:   (1005.6 points, 5.0 required)\n\n' +
  ' pts rule name              description\n' +
  '---- ---------------------- --------------------------------------------------\n' +
  '-0.0 NO_RECEIVED            Informational: message has no Received headers\n' +
  ' 2.7 MISSING_DATE           Missing Date: header\n' +
  '1000 GTUBE                  BODY: Generic Test for Unsolicited Bulk Email\n' +
  ' 1.0 PP_MIME_FAKE_ASCII_TEXT BODY: MIME text/plain claims to be ASCII but\n' +
  "                            isn't\n" +
  '                            [9.9 NOT_A_RULE]\n' +
  '-1.9 BAYES_00               BODY: Bayes spam probability is 0 to 1%\n' +
  '                            [score: 0.0000]\n\n'

const reply = (fields: string, body = REPORT): Buffer =>
  Buffer.from(`SPAMD/1.1 0 EX_OK\r\n${fields}\r\n\r\n${body}`, 'latin1')
const LENGTH = `Content-length: ${REPORT.length}`

test('reads score, threshold and body', () => {
  const read = readSpamdReply(reply(`${LENGTH}\r\nSpam: True ; 1005.6 / 5.0`))
  expect(read).toEqual({ points: 1005.6, required: 5, body: REPORT })
})

test('reads a negative score', () => {
  expect(readSpamdReply(reply(`Spam: False ; -0.1 / 5.0\r\n${LENGTH}`))).toMatchObject({ points: -0.1 })
})

test.each([
  ['nothing', ''],
  [
    'an error',
    'SPAMD/1.0 76 Bad header line: (Content-Length mismatch: Expected 999 bytes, got 146 bytes)\r\n',
  ],
  [
    'an error with fields',
    'SPAMD/1.1 75 EX_TEMPFAIL\r\nContent-length: 0\r\nSpam: False ; 0.0 / 5.0\r\n\r\n',
  ],
  ['another protocol', 'HTTP/1.1 200 OK\r\n\r\n'],
  ['no score', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n'],
  ['no length', 'SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0.0 / 5.0\r\n\r\n'],
  ['a body too short', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\nSpam: False ; 0.0 / 5.0\r\n\r\nx'],
  ['a body too long', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\nSpam: False ; 0.0 / 5.0\r\n\r\nxyz'],
  ['a score that is none', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; nan / 5.0\r\n\r\n'],
  ['an endless score', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; inf / 5.0\r\n\r\n'],
  ['a score in words', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: Perhaps ; 0.0 / 5.0\r\n\r\n'],
  [
    'two scores',
    'SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; 0.0 / 5.0\r\nSpam: True ; 9.0 / 5.0\r\n\r\n',
  ],
])('refuses %s', (_, text) => {
  expect(() => readSpamdReply(Buffer.from(text))).toThrow(
    expect.objectContaining({ code: 'E_SCANNER_PROTOCOL' }),
  )
})

test('nothing cut off a reply is a score', () => {
  const whole = reply(`${LENGTH}\r\nSpam: True ; 9.0 / 5.0`)
  for (let end = 0; end < whole.length; end++) {
    expect(() => readSpamdReply(whole.subarray(0, end))).toThrow(REFUSED)
  }
})

test('reads rules and points from the table, not from preview or descriptions', () => {
  expect(readReportTable(REPORT)).toEqual([
    { name: 'NO_RECEIVED', score: -0 },
    { name: 'MISSING_DATE', score: 2.7 },
    { name: 'GTUBE', score: 1000 },
    { name: 'PP_MIME_FAKE_ASCII_TEXT', score: 1 },
    { name: 'BAYES_00', score: -1.9 },
  ])
})

test.each([['Pkte Regelname              Beschreibung'], [' pts r\xe8gle                  description']])(
  'knows the table under other titles: %s',
  (titles) => {
    const report = REPORT.replace(' pts rule name              description', titles)
    expect(readReportTable(report)).toHaveLength(5)
  },
)

test('without a table there are no rules', () => {
  expect(readReportTable('(9.9 points, 5.0 required)\n 1.0 A_RULE  no table above\n')).toEqual([])
})

test.each([
  [
    'X-Spam-Checker-Version: SpamAssassin 4.0.1 (2024-03-25) on vm\r\nX-Spam-Level: \r\n\r\n',
    'SpamAssassin 4.0.1',
  ],
  [
    'X-Spam-Status: No, score=-0.0 required=5.0 tests=MSGID_SHORT,\r\n\tNO_RELAYS autolearn=disabled version=4.0.1\r\n',
    'SpamAssassin 4.0.1',
  ],
  ['Subject: version=4.0.1\r\n\r\n', undefined],
  ['', undefined],
])('reads the engine from %j', (header, engine) => {
  expect(readEngine(header)).toBe(engine)
})

test('a report made to be slow is read at once', () => {
  const hostile = `${'---- '.repeat(50_000)}\n${' '.repeat(300_000)}\n${'X-Spam-Status: '.repeat(20_000)}`
  readReportTable(hostile)
  expect(readEngine(hostile)).toBeUndefined()
})

test.each([
  ['something learned', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\nDidSet: local\r\n\r\n\r\n', true],
  ['learned and reported', 'SPAMD/1.1 0 EX_OK\r\nDidSet: local, remote\r\n\r\n', true],
  ['a message that it knew', 'SPAMD/1.1 0 EX_OK\r\nContent-length: 2\r\n\r\n\r\n', false],
  ['reported only', 'SPAMD/1.1 0 EX_OK\r\nDidSet: remote\r\n\r\n', false],
])('reads of TELL: %s', (_, text, learned) => {
  expect(readTellReply(Buffer.from(text))).toBe(learned)
})

test.each([
  ['nothing', '', 'spamd: empty reply'],
  [
    'a spamd that does not learn',
    'SPAMD/1.0 69 Service Unavailable: TELL commands are not enabled\r\n',
    'TELL',
  ],
  ['another protocol', 'HTTP/1.1 200 OK\r\nDidSet: local\r\n\r\n', 'HTTP'],
])('refuses of TELL: %s', (_, text, why) => {
  expect(() => readTellReply(Buffer.from(text))).toThrow(
    expect.objectContaining({ code: 'E_SCANNER_PROTOCOL', message: expect.stringContaining(why) }),
  )
})
