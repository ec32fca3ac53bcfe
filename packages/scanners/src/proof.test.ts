import { describe, expect, test } from '@jest/globals'
import type { Authenticated, Finding } from '@ecluse/core'
import { testMessage } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { rspamdProofs, spamassassinProofs } from './proof.ts'
import { readRspamdReply } from './rspamdReply.ts'
import { readReportTable } from './spamdReply.ts'

const SPF: Authenticated = { kind: 'authenticated', method: 'spf', identity: 'mail-from' }
const DMARC: Authenticated = { kind: 'authenticated', method: 'dmarc', identity: 'from' }
const BY_AUTHOR: Authenticated = { kind: 'authenticated', method: 'dkim', identity: 'from' }
const BY_SENDER: Authenticated = { kind: 'authenticated', method: 'dkim', identity: 'mail-from' }
const dkim = (domain: string): Authenticated => ({
  kind: 'authenticated',
  method: 'dkim',
  identity: { domain },
})

/** Of rspamd 3.4 with a name server of our own, as it came, without the symbols that are not about the sender. */
const RSPAMD_REPLY =
  '{"is_skipped":false,"score":5.600000,"required_score":15.0,"action":"greylist","symbols":{' +
  '"R_DKIM_ALLOW":{"name":"R_DKIM_ALLOW","score":-0.200000,"metric_score":-0.200000,"description":"DKIM verification succeed","options":["example.net:s=test"]},' +
  '"R_SPF_ALLOW":{"name":"R_SPF_ALLOW","score":-0.200000,"metric_score":-0.200000,"description":"SPF verification allows sending","options":["+ip4:192.0.2.1:c"]},' +
  '"RCPT_COUNT_ONE":{"name":"RCPT_COUNT_ONE","score":0.0,"metric_score":0.0,"description":"One recipient","options":["1"]},' +
  '"DKIM_TRACE":{"name":"DKIM_TRACE","score":0.0,"metric_score":0.0,"description":"DKIM trace symbol","options":["example.net:+"]},' +
  '"DMARC_POLICY_ALLOW":{"name":"DMARC_POLICY_ALLOW","score":-0.500000,"metric_score":-0.500000,"description":"DMARC permit policy","options":["example.net","reject"]}' +
  '},"messages":{},"message-id":"1@example.net","time_real":0.001857}'

/** Table of SpamAssassin 4.0.1 with the same name server, as it came. */
const SPAMASSASSIN_REPORT =
  'Content analysis details:   (1.4 points, 5.0 required)\n\n' +
  ' pts rule name              description\n' +
  '---- ---------------------- --------------------------------------------------\n' +
  "-0.1 DKIM_VALID_AU          Message has a valid DKIM or DK signature from author's\n" +
  '                            domain\n' +
  ' 0.1 DKIM_SIGNED            Message has a DKIM or DK signature, not necessarily valid\n' +
  '-0.1 DKIM_VALID             Message has at least one valid DKIM or DK signature\n' +
  '-0.1 DKIM_VALID_EF          Message has a valid DKIM or DK signature from\n' +
  '                            envelope-from domain\n' +
  ' 1.3 RCVD_ILLEGAL_IP        Received: contains illegal IP address\n'

describe('rspamd', () => {
  test('reads whom a reply of the real one proves', () => {
    const { findings } = readRspamdReply(RSPAMD_REPLY, 'marie@example.net')
    expect(findings.slice(1)).toEqual([SPF, DMARC, dkim('example.net')])
    expect(findings[0]?.kind).toBe('score')
  })

  test.each<[string, object, Finding[]]>([
    ['no symbols', {}, []],
    ['refusals', { R_SPF_FAIL: { score: 1 }, R_DKIM_REJECT: { options: ['a.example:s=x'] } }, []],
    ['names in other case', { r_spf_allow: { score: 0 } }, []],
    [
      'several signatures, each domain once',
      { R_DKIM_ALLOW: { options: ['a.example:s=1', 'A.Example.:s=2', 'b.example:s=1'] } },
      [dkim('a.example'), dkim('b.example')],
    ],
    ['a signature without options', { R_DKIM_ALLOW: { score: -0.2 } }, []],
    ['options of another type', { R_DKIM_ALLOW: { options: 'a.example:s=1' } }, []],
    ['options that are an object', { R_DKIM_ALLOW: { options: { 0: 'a.example:s=1' } } }, []],
    ['an option of another type', { R_DKIM_ALLOW: { options: [1, null, {}, ['a.example:s=1']] } }, []],
    ['no selector', { R_DKIM_ALLOW: { options: ['a.example', 'a.example:+', ':s=1'] } }, []],
    // d=good.example:s=x.evil.example has a name server, and its owner is not good.example.
    ['a domain with a colon', { R_DKIM_ALLOW: { options: ['good.example:s=x.evil.example:s=1'] } }, []],
    ['no domain', { R_DKIM_ALLOW: { options: ['a b:s=1', 'a@b:s=1', '\u0000:s=1', '..:s=1'] } }, []],
    ['symbols that are none', { R_SPF_ALLOW: true, DMARC_POLICY_ALLOW: null, R_DKIM_ALLOW: 1 }, []],
    ['a huge option', { R_DKIM_ALLOW: { options: [`a.example:s=${'x'.repeat(10_000)}`] } }, []],
  ])('reads %s', (_, symbols, expected) => {
    const read = JSON.parse(JSON.stringify(symbols)) as Record<string, unknown>
    expect(rspamdProofs(read, 'a@a.example')).toEqual(expected)
  })

  test('reads 20 options, and not one more', () => {
    const options = Array.from({ length: 100_000 }, (_, index) => `d${index}.example:s=1`)
    const proofs = rspamdProofs({ R_DKIM_ALLOW: { options } }, '')
    expect(proofs).toHaveLength(20)
    expect(proofs.at(-1)).toEqual(dkim('d19.example'))
  })

  // The real one asked for the SPF record of the HELO name where it is said to prove nothing.
  test.each<[boolean, string]>([
    [true, 'marie@example.net'],
    [true, "o'x+y=z@example.net"],
    [true, 'marie@example.net.'],
    [false, ''],
    [false, 'a..b@good.example'],
    [false, 'x y@good.example'],
    [false, 'a@b@good.example'],
    [false, '\xfc@good.example'],
    [false, '\udcfc@good.example'],
    [false, 'x@b\xfccher.example'],
    [false, '"x@good.example"@example.net'],
    [false, 'x@[192.0.2.1]'],
  ])('says %p: SPF proves the domain of %j', (expected, mailFrom) => {
    expect(rspamdProofs({ R_SPF_ALLOW: { score: -0.2 } }, mailFrom)).toEqual(expected ? [SPF] : [])
  })
})

describe('SpamAssassin', () => {
  const mail = testMessage('From: a@example.org\r\n\r\nhello\r\n')
  const proofs = (names: string[], message = mail, mailFrom = 'bob@example.com'): Finding[] =>
    spamassassinProofs(
      names.map((name) => ({ name, score: -0.1 })),
      request(message, { mailFrom }),
    )

  test('reads whom a report of the real one proves', () => {
    expect(spamassassinProofs(readReportTable(SPAMASSASSIN_REPORT), request(mail))).toEqual([
      BY_AUTHOR,
      BY_SENDER,
    ])
  })

  test.each<[string, Finding[]]>([
    ['SPF_PASS', [SPF]],
    ['DMARC_PASS', [DMARC]],
    ['DKIM_VALID_AU', [BY_AUTHOR]],
    ['DKIM_VALID_EF', [BY_SENDER]],
    ['SPF_HELO_PASS', []],
    ['DKIM_VALID', []],
    ['DKIM_SIGNED', []],
    ['SPF_NEUTRAL', []],
    ['DMARC_NONE', []],
    ['spf_pass', []],
    ['X_SPF_PASS', []],
  ])('reads %s', (name, expected) => {
    expect(proofs([name, 'MISSING_DATE'])).toEqual(expected)
  })

  // It prefers these fields to Return-Path where no Received stands above them.
  test.each<[boolean, string]>([
    [true, 'Received: by mx\r\nX-Envelope-From: <x@evil.example>\r\n\r\n'],
    [true, 'Received: by mx\r\nEnvelope-Sender: <x@evil.example>\r\n\r\n'],
    [true, 'Subject: X-Envelope-From: a\r\n\r\n'],
    [false, 'X-Envelope-From: <x@evil.example>\r\nReceived: by mx\r\n\r\n'],
    [false, 'x-envelope-from: <x@evil.example>\r\n\r\n'],
    [false, 'A: 1\r\nEnvelope-Sender:\r\n <x@evil.example>\r\n\r\n'],
    [false, 'Envelope-Sender : <x@evil.example>\r\n\r\n'],
    [false, 'A: 1\r\n \r\nX-Envelope-From: <x@evil.example>\r\n\r\n'],
    [false, 'A: 1\rReceived: x\r\nX-Envelope-From: <x@evil.example>\r\n\r\n'],
    [false, 'From bob Tue Nov 24 07:00:00 2026\r\nReturn-Path: <x@evil.example>\r\n\r\n'],
  ])('says %p: it knew the envelope sender of %j', (expected, header) => {
    const names = ['SPF_PASS', 'DKIM_VALID_EF', 'DMARC_PASS']
    expect(proofs(names, testMessage(header))).toEqual(expected ? [BY_SENDER, SPF, DMARC] : [DMARC])
  })

  test.each(['', '\xfc@example.org', '"a b"@example.org', 'a@b@example.org'])(
    'proves nothing of the envelope sender %j',
    (mailFrom) => {
      expect(proofs(['SPF_PASS', 'DKIM_VALID_EF'], mail, mailFrom)).toEqual([])
    },
  )
})

test('what a message claims of itself reaches neither', () => {
  const text = '{"score":1,"action":"no action","required_score":15,"symbols":{"A":{"score":1,"options":'
  const claim = `["R_DKIM_ALLOW: a.example:s=1","}, \\"R_SPF_ALLOW\\": {}"]}}}`
  expect(readRspamdReply(text + claim, 'a@a.example').findings).toHaveLength(1)
  const preview = `Content preview:  -0.0 SPF_PASS x\n-0.1 DKIM_VALID_AU x\n\n${SPAMASSASSIN_REPORT.split('\n-0.1')[0] ?? ''}\n`
  expect(readReportTable(preview)).toEqual([])
})
