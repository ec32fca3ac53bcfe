import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { describeWith, startMailSystem, type MailSystem, type Submission } from '@ecluse/fixtures'

let system: MailSystem

const describePostfix = describeWith({ describe, beforeAll }, 'postfix')

const orcpt = (value: string): Partial<Submission> => ({ recipients: [['u@example.org', `ORCPT=${value}`]] })

describePostfix('what Postfix takes from strangers', () => {
  beforeAll(async () => {
    system = await startMailSystem({ yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]' })
  }, 60_000)

  afterAll(async () => {
    await system?.close()
  })

  // A refusal of ours would become a notice to the sender, whom anybody can forge.
  test.each<[string, Partial<Submission>]>([
    ['a long address', { recipients: [`${'a'.repeat(900)}@example.org`] }],
    ['an address that is long as xtext', { recipients: [`a${'+'.repeat(300)}@example.org`] }],
    ['the longest address', { recipients: [`a${'+'.repeat(1990)}@example.org`] }],
    ['a control character in an address', { recipients: ['u+\x01@example.org'] }],
    ['DEL in an address', { recipients: ['u+\x7f@example.org'] }],
    ['a tab in an address', { recipients: ['"u+\tx"@example.org'] }],
    ['a control character in the sender', { mailFrom: 's\x01@example.net' }],
    ['a long ENVID', { parameters: `ENVID=${'e'.repeat(900)}` }],
    ['a long ORCPT', orcpt(`rfc822;${'o'.repeat(600)}`)],
    ['an ORCPT without address', orcpt('rfc822;')],
    ['an ORCPT of an odd type', orcpt('x_y.z;a')],
    ['line ends in an ORCPT', orcpt('rfc822;a+0D+0Ab')],
    ['DEL in an ORCPT', orcpt('rfc822;a+7Fb')],
    [
      'the most Received fields',
      { data: `${'Received: from a by b\r\n'.repeat(48)}Subject: x\r\n\r\nHello\r\n` },
    ],
    ['a line end in an internationalized ORCPT', orcpt(String.raw`utf-8;a\x{0D}b`)],
  ])('%s is delivered, and nobody gets a notice', async (_, submission) => {
    const data = 'Subject: odd\r\n\r\nHello\r\n'
    const mail = { mailFrom: 'forged@example.net', recipients: ['u@example.org'], data, ...submission }
    const { delivered, line } = await system.pass(mail)
    expect(delivered[0]?.mailFrom).not.toBe('')
    expect(line.recipients[0]?.reply).toMatch(/^250 2\.0\.0 from MTA/)
  })

  // Postfix tells it in the same command as the queue id, without a limit, and does not escape an equals sign.
  test.each([
    ['an equals sign', 'a=b', 'a=b'],
    ['255 characters', 'x'.repeat(255), 'x'.repeat(255)],
    ['256 characters', 'x'.repeat(256), undefined],
    ['all characters that a line has room for', 'x'.repeat(1900), undefined],
    ['the word for what is not known', '[UNAVAILABLE]', undefined],
  ])('a greeting of %s hides neither queue id nor client', async (_, helo, told) => {
    const { line } = await system.pass({
      before: ['XCLIENT ADDR=192.0.2.7', `EHLO ${helo}`],
      mailFrom: 'a@example.net',
      recipients: ['u@example.org'],
      data: 'Subject: odd\r\n\r\nHello\r\n',
    })
    expect([line.client, line['helo']]).toEqual(['192.0.2.7', told])
  })

  test('nobody forges our fields behind the first MiB of a header', async () => {
    const long = `A: ${'x'.repeat(90)}\r\n`.repeat(12_000)
    const data = `${long}X-Spam-Flag: NO\r\nSubject: long\r\n\r\nX-Spam-Flag: body\r\n`
    const { delivered } = await system.pass({
      mailFrom: 'a@example.net',
      recipients: ['u@example.org'],
      data,
    })
    const text = delivered[0]?.data.toString('latin1')
    expect(text?.match(/^.*-Spam-Flag:.*$/gm)).toEqual(['_-Spam-Flag: NO', 'X-Spam-Flag: body'])
  })
})
