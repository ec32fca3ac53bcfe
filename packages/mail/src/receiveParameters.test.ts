import { expect, test } from '@jest/globals'
import { parseMail, parseRcpt } from './receiveParameters.ts'

test.each<[string, object]>([
  ['', {}],
  ['SIZE=0', { declaredBytes: 0 }],
  ['size=12345678901234567890', { declaredBytes: 12_345_678_901_234_567_000 }],
  ['BODY=8bitmime  SMTPUTF8', { body: '8BITMIME', smtpUtf8: true }],
  ['BODY=7BIT', { body: '7BIT' }],
  ['RET=full ENVID=QQ314159', { ret: 'FULL', envid: 'QQ314159' }],
  ['ENVID=a+2Bb+3D', { envid: 'a+2Bb+3D' }],
  ['AUTH=<>', {}],
])('reads MAIL FROM:<a@b> %s', (parameters, fields) => {
  expect(parseMail(`FROM:<a@b> ${parameters}`)).toEqual({ mailFrom: 'a@b', smtpUtf8: false, ...fields })
})

test.each([
  'SIZE',
  'SIZE=',
  'SIZE=-1',
  'SIZE=1e3',
  `SIZE=${'9'.repeat(21)}`,
  'BODY=BINARYMIME',
  'SMTPUTF8=1',
  'RET=BODY',
  'REQUIRETLS',
  'X=Y',
  '=',
])('refuses MAIL FROM:<a@b> %s with 504', (parameter) => {
  const text = `MAIL command parameter error: ${parameter}`
  expect(parseMail(`FROM:<a@b> ${parameter}`)).toEqual({ code: 504, enhanced: '5.5.4', text })
})

// Postfix takes these from strangers; refused here, it would send a notice to whom the stranger named as the sender.
test.each([
  'ENVID=',
  'ENVID=a+0D+0AX',
  'ENVID=a+00b',
  'ENVID=+ZZ',
  'ENVID=j\xf6',
  `ENVID=${'a'.repeat(501)}`,
])('leaves out of MAIL FROM:<a@b> %s', (parameter) => {
  const sender = { mailFrom: 'a@b', smtpUtf8: false, ret: 'HDRS' }
  expect(parseMail(`FROM:<a@b> ${parameter} RET=HDRS`)).toEqual(sender)
})

test('refuses a parameter given twice', () => {
  expect(parseMail('FROM:<a@b> SIZE=1 SIZE=1')).toMatchObject({ code: 504 })
  expect(parseMail(`FROM:<a@b> ENVID=${'a'.repeat(500)}`)).toMatchObject({ envid: 'a'.repeat(500) })
  expect(parseRcpt('TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY')).toMatchObject({ code: 501 })
})

test.each(['', 'FROM', 'FROM:', 'FROM:a@b', 'FROM:<a@b>SIZE=1', 'TO:<a@b>', 'X FROM:<a@b>'])(
  'refuses MAIL %s with 501',
  (args) => {
    expect(parseMail(args)).toEqual({ code: 501, enhanced: '5.5.2', text: 'Syntax: MAIL FROM:<address>' })
  },
)

test.each<[string, object]>([
  ['', {}],
  ['NOTIFY=never', { notify: ['NEVER'] }],
  ['NOTIFY=DELAY,success,FAILURE,DELAY', { notify: ['SUCCESS', 'FAILURE', 'DELAY'] }],
  ['ORCPT=rfc822;a+2Bb@c', { orcpt: 'rfc822;a+2Bb@c' }],
  ['ORCPT=rfc822;SRS0=x=y=z@c', { orcpt: 'rfc822;SRS0=x=y=z@c' }],
  ['orcpt=x400;/C=de', { orcpt: 'x400;/C=de' }],
  ['ORCPT=utf-8;j\xc3\xb6@m\xc3\xbc.de', { orcpt: 'utf-8;jö@mü.de' }],
  [String.raw`ORCPT=UTF-8;j\x{F6}@c`, { orcpt: String.raw`UTF-8;j\x{F6}@c` }],
  [`ORCPT=rfc822;${'a'.repeat(493)}`, { orcpt: `rfc822;${'a'.repeat(493)}` }],
])('reads RCPT TO:<a@b> %s', (parameters, fields) => {
  expect(parseRcpt(`TO: <a@b> ${parameters}`)).toEqual({ address: 'a@b', ...fields })
})

test.each(['NOTIFY', 'NOTIFY=', 'NOTIFY=NEVER,SUCCESS', 'NOTIFY=SUCCESS,', 'NOTIFY=ALWAYS'])(
  'refuses RCPT TO:<a@b> %s with 501',
  (parameter) => {
    expect(parseRcpt(`TO:<a@b> ${parameter}`)).toMatchObject({ code: 501, enhanced: '5.5.4' })
  },
)

test.each([
  'ORCPT=',
  'ORCPT=a@b',
  'ORCPT=rfc822;',
  'ORCPT=rfc822;a+0D+0Ab',
  'ORCPT=rfc822;a+00b',
  'ORCPT=rfc822;+ZZ',
  'ORCPT=rfc822;j\xf6',
  'ORCPT=utf-8;a+0Db',
  String.raw`ORCPT=utf-8;a\x{000D}b`,
  String.raw`ORCPT=utf-8;a\x{7f}b`,
  `ORCPT=rfc822;${'a'.repeat(494)}`,
  'ORCPT=x_y;a@b',
  'ORCPT=rfc822;a+7Fb',
])('leaves out of RCPT TO:<a@b> %s', (parameter) => {
  expect(parseRcpt(`TO:<a@b> ${parameter} NOTIFY=NEVER`)).toEqual({ address: 'a@b', notify: ['NEVER'] })
})

test('refuses an unknown parameter of RCPT with 555', () => {
  const text = 'RCPT command parameter unrecognized: X=Y'
  expect(parseRcpt('TO:<a@b> X=Y')).toEqual({ code: 555, enhanced: '5.5.4', text })
})
