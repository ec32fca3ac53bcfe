import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { authenticates, type Finding, type Scanner } from '@ecluse/core'
import {
  describeWith,
  mailDate,
  signDkim,
  startNameServer,
  startRspamd,
  startSpamd,
  testMessage,
  type NameServer,
} from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { rspamd } from './rspamd.ts'
import { spamd } from './spamd.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const key = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
const records = {
  'example.net': 'v=spf1 ip4:192.0.2.1 -all',
  'mail.example.net': 'v=spf1 ip4:192.0.2.1 -all',
  'test._domainkey.example.net': `v=DKIM1; k=rsa; p=${key}`,
  '_dmarc.example.net': 'v=DMARC1; p=reject',
}
const NEVER = new AbortController().signal
const client = { address: '192.0.2.1', name: 'mail.example.net', helo: 'mail.example.net' }
const received =
  'Received: from mail.example.net (mail.example.net [192.0.2.1])\r\n' +
  '\tby mx.example.org (Postfix) with ESMTP id 4Vx1y2z3; Tue, 24 Nov 2026 11:00:00 +0000 (UTC)\r\n'

/** Signed by example.net, then received by Postfix. */
function signed(from: string, above = ''): Buffer {
  const bytes = Buffer.from(
    `Date: ${mailDate()}\r\nFrom: ${from}\r\nSubject: hello\r\nMessage-ID: <1@example.net>\r\n\r\nhello\r\n`,
  )
  const fields = ['from', 'subject', 'date', 'message-id']
  return Buffer.concat([
    Buffer.from(above + received),
    signDkim(bytes, { privateKey, header: 'relaxed', body: 'relaxed', fields }),
  ])
}

const forged = (from: string): Buffer =>
  Buffer.from(
    `${received}Received-SPF: pass (example.net: 192.0.2.1) identity=mailfrom; envelope-from="marie@example.net"\r\n` +
      'Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=example.net; dmarc=pass header.from=example.net\r\n' +
      `X-Spam-Status: No, tests=SPF_PASS,DKIM_VALID_AU,DMARC_PASS\r\nX-Envelope-From: <marie@example.net>\r\n` +
      `From: ${from}\r\nSubject: R_DKIM_ALLOW DMARC_POLICY_ALLOW\r\n\r\n-0.1 DKIM_VALID_AU          x\r\n`,
  )

async function proofsOf(scanner: Scanner, bytes: Buffer, mailFrom: string): Promise<Finding[]> {
  const message = testMessage(bytes.toString('latin1'))
  const { findings } = await scanner.scan(request(message, { mailFrom, client, recipients: [] }), NEVER)
  return findings.filter(({ kind }) => kind === 'authenticated')
}

const spf = { kind: 'authenticated', method: 'spf', identity: 'mail-from' }
const dmarc = { kind: 'authenticated', method: 'dmarc', identity: 'from' }
const dkim = (identity: object | string): object => ({ kind: 'authenticated', method: 'dkim', identity })
const MARIE = 'marie@example.net'

describeWith({ describe, beforeAll }, 'rspamd')('rspamd with a name server', () => {
  let dns: NameServer
  let scanner: Scanner
  const releases: (() => unknown)[] = []

  beforeAll(async () => {
    dns = await startNameServer(records)
    releases.push(() => dns.close())
    const service = await startRspamd({ nameServerPort: dns.port })
    releases.push(() => service.close())
    scanner = rspamd.create('rspamd', rspamd.options.parse({ url: service.url }))
    releases.push(() => scanner.close?.())
  }, 60_000)

  afterAll(async () => {
    for (const release of releases.toReversed()) await release()
  })

  test('proves a signed message from the right host', async () => {
    const proofs = await proofsOf(scanner, signed(MARIE), MARIE)
    expect(proofs).toEqual([spf, dmarc, dkim({ domain: 'example.net' })])
    expect(authenticates(proofs, MARIE, { mailFrom: MARIE, author: MARIE })).toBe(true)
    expect(authenticates(proofs, 'a@sub.example.net', { mailFrom: '' })).toBe(true)
    expect(authenticates(proofs, 'a@example.org', { mailFrom: MARIE, author: MARIE })).toBe(false)
  })

  test('a signature does not prove another author', async () => {
    const proofs = await proofsOf(scanner, signed('x@good.example'), 'x@good.example')
    expect(proofs).toEqual([dkim({ domain: 'example.net' })])
    const claimed = { mailFrom: 'x@good.example', author: 'x@good.example' }
    expect(authenticates(proofs, 'x@good.example', claimed)).toBe(false)
  })

  test('claims in the message prove nothing', async () => {
    await expect(proofsOf(scanner, forged('x@good.example'), 'x@good.example')).resolves.toEqual([])
  })

  test.each(['x\xfc@good.example', 'a..b@good.example', 'a@b@good.example'])(
    'it checks the HELO name for the sender %j, and that proves nothing',
    async (mailFrom) => {
      const before = dns.asked.length
      await expect(proofsOf(scanner, forged(MARIE), mailFrom)).resolves.not.toContainEqual(spf)
      expect(dns.asked.slice(before)).not.toContain('good.example')
    },
  )
})

describeWith({ describe, beforeAll }, 'spamd')('SpamAssassin with a name server', () => {
  let scanner: Scanner
  const releases: (() => unknown)[] = []

  beforeAll(async () => {
    const dns = await startNameServer(records)
    releases.push(() => dns.close())
    const service = await startSpamd({ nameServerPort: dns.port })
    releases.push(() => service.close())
    scanner = spamd.create('sa', spamd.options.parse({ address: `127.0.0.1:${service.port}` }))
  }, 60_000)

  afterAll(async () => {
    for (const release of releases.toReversed()) await release()
  })

  const signatures = async (bytes: Buffer, mailFrom: string): Promise<Finding[]> =>
    (await proofsOf(scanner, bytes, mailFrom)).filter(
      (finding) => finding.kind === 'authenticated' && finding.method === 'dkim',
    )

  test('proves the author and the envelope sender of a signed message', async () => {
    await expect(signatures(signed(MARIE), MARIE)).resolves.toEqual([dkim('from'), dkim('mail-from')])
  })

  test('a signature does not prove another author, nor another envelope sender', async () => {
    await expect(signatures(signed('x@good.example'), MARIE)).resolves.toEqual([dkim('mail-from')])
    await expect(signatures(signed(MARIE), 'x@good.example')).resolves.toEqual([dkim('from')])
  })

  test('an envelope sender that the message names itself is not proved', async () => {
    const bytes = signed(MARIE, 'X-Envelope-From: <marie@example.net>\r\n')
    await expect(signatures(bytes, 'x@good.example')).resolves.toEqual([dkim('from')])
  })

  test('claims in the message prove nothing', async () => {
    await expect(proofsOf(scanner, forged('x@good.example'), 'x@good.example')).resolves.toEqual([])
  })
})
