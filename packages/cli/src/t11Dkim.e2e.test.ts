import { generateKeyPairSync } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import Dkim from 'nodemailer/lib/dkim'
import {
  describeWith,
  signDkim,
  startMailSystem,
  verifyDkim,
  type Canonicalization,
  type MailSystem,
  mailDate,
} from '@ecluse/fixtures'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

/** As untidy as a header may be: what a filter "cleans up" breaks its signature. */
const message = Buffer.from(
  [
    `Date: ${mailDate()}`,
    'FROM:  Marie   Duval  <marie@example.net>',
    'To: Paul Lefort\t<paul@example.org>,',
    '\tfriend@example.com',
    'Subject: an   offer  ',
    '  in two lines \t',
    'Message-ID:<1@example.net>',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=iso-8859-1',
    'Content-Transfer-Encoding: 8bit',
    'X-Empty:',
    '',
    'Gr\xfc\xdfe,   with  blanks \t ',
    '.a dot',
    `${'long '.repeat(400)}`,
    '',
    'ECLUSE-TEST-SCORE=MARK',
    '',
    '',
    '',
  ].join('\r\n'),
  'latin1',
)
const fields = ['from', 'to', 'subject', 'date', 'message-id', 'mime-version', 'content-type', 'x-empty']

const withScore = (points: number): Buffer =>
  Buffer.from(message.toString('latin1').replace('=MARK', `=${points}`), 'latin1')

type Sign = (bytes: Buffer) => Promise<Buffer>

const ours =
  (header: Canonicalization, body: Canonicalization): Sign =>
  async (bytes) =>
    signDkim(bytes, { privateKey, header, body, fields })

/** A signer that is not from the same hand as the verifier. */
const nodemailers: Sign = async (bytes) => {
  const signer = new Dkim({
    domainName: 'example.net',
    keySelector: 'test',
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  })
  return await buffer(signer.sign(bytes))
}

const signers: [string, Sign][] = [
  ['simple/simple', ours('simple', 'simple')],
  ['simple/relaxed', ours('simple', 'relaxed')],
  ['relaxed/simple', ours('relaxed', 'simple')],
  ['relaxed/relaxed', ours('relaxed', 'relaxed')],
  ['relaxed/relaxed by nodemailer', nodemailers],
]

describe('the verifier of these tests', () => {
  test.each(signers)('sees what was changed in a message signed %s', async (_name, sign) => {
    const signed = (await sign(message)).toString('latin1')
    const judge = (text: string): string => verifyDkim(Buffer.from(text, 'latin1'), publicKey)
    expect(judge(signed)).toBe('pass')
    expect(judge(`X-Added: above\r\n${signed}`)).toBe('pass')
    expect(judge(signed.replace('.a dot', '.a dox'))).toBe('wrong body')
    expect(judge(`${signed}more\r\n`)).toBe('wrong body')
    expect(judge(signed.replace('Subject: an', 'Subject: ***SPAM*** an'))).toBe('wrong header')
    expect(judge(signed.replace('marie@', 'maria@'))).toBe('wrong header')
  })

  test.each(signers.slice(0, 2))('sees a changed blank in a header signed %s', async (_name, sign) => {
    const signed = (await sign(message)).toString('latin1').replace('Marie   Duval', 'Marie Duval')
    expect(verifyDkim(Buffer.from(signed, 'latin1'), publicKey)).toBe('wrong header')
  })
})

describeWith({ describe, beforeAll }, 'postfix')('a DKIM signature made before the filter', () => {
  let system: MailSystem

  beforeAll(async () => {
    system = await startMailSystem({
      yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]',
    })
  }, 60_000)

  afterAll(async () => {
    await system?.close()
  })

  const pass = async (data: Buffer, recipients: readonly string[], copies = 1) =>
    (
      await system.pass(
        { mailFrom: 'marie@example.net', parameters: 'BODY=8BITMIME', recipients, data },
        copies,
      )
    ).delivered

  test.each(signers)('verifies after it: ham, %s', async (_name, sign) => {
    const [mail] = await pass(await sign(withScore(0)), ['paul@example.org'])
    const data = mail?.data ?? Buffer.alloc(0)
    expect(data.toString('latin1')).toMatch(/^X-Virus-Status: Clean\r$/m)
    expect(data.toString('latin1')).toMatch(/^X-Spam-Status: No/m)
    expect(verifyDkim(data, publicKey)).toBe('pass')
  })

  test.each(signers)('verifies outside although local recipients get a tag: %s', async (_name, sign) => {
    const delivered = await pass(await sign(withScore(8)), ['paul@example.org', 'friend@example.com'], 2)
    const verdicts = new Map(
      delivered.map(({ recipients, data }) => [recipients[0]?.address, verifyDkim(data, publicKey)]),
    )
    // The tag is for people who asked for it: it changes a signed field.
    expect(Object.fromEntries(verdicts)).toEqual({
      'paul@example.org': 'wrong header',
      'friend@example.com': 'pass',
    })
  })

  test('verifies where fields that anybody could have forged were taken out', async () => {
    const signed = await nodemailers(withScore(0))
    const forged = Buffer.concat([Buffer.from('X-Spam-Flag: NO\r\nX-Virus-Status: Clean\r\n'), signed])
    const [mail] = await pass(forged, ['friend@example.com'])
    const text = mail?.data.toString('latin1') ?? ''
    expect(text).not.toContain('X-Spam-Flag')
    expect(text.split('X-Virus-Status')).toHaveLength(2)
    expect(verifyDkim(Buffer.from(text, 'latin1'), publicKey)).toBe('pass')
  })
})
