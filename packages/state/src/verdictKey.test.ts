import { Readable } from 'node:stream'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { VERDICT_INPUTS, type Client, type MessageContent, type ScanRequest } from '@ecluse/core'
import { envelope } from '../test/sample.ts'
import { verdictPlace, type VerdictSource } from './verdictKey.ts'

const DIGEST = 'ab'.repeat(32)

interface Told {
  readonly content?: Partial<MessageContent>
  readonly client?: Client
  readonly mailFrom?: string
  readonly recipients?: readonly string[]
  readonly hostname?: string
}

function request({
  content,
  client,
  mailFrom = 'a@b',
  recipients = ['c@d'],
  hostname = 'h',
}: Told = {}): ScanRequest {
  return {
    hostname,
    envelope: envelope({
      client: client ?? { address: '192.0.2.1', helo: 'x', name: 'y' },
      mailFrom,
      recipients: recipients.map((address) => ({ address })),
    }),
    message: {
      id: 'id',
      sizeBytes: 1,
      digest: DIGEST,
      header: Buffer.alloc(0),
      content: () => ({ digest: DIGEST, trace: [], ...content }),
      open: () => Readable.from([]),
    },
  }
}

const source = (changes: Partial<VerdictSource> = {}): VerdictSource => ({
  scanner: 'spam',
  version: 'SpamAssassin 4',
  memory: { inputs: VERDICT_INPUTS, settings: '{}' },
  ...changes,
})
const keyOf = (told: Told, of = source()): string => verdictPlace(of, request(told))?.key ?? ''

const RECEIVED = 'Received: from a by b with ESMTP id 1; Tue, 24 Nov 2026 10:00:00 +0000'

describe('the place of a verdict', () => {
  test('is of a few harmless characters, whatever the engine says of itself', () => {
    const version = 'ClamAV *?[\r\n: \0\u{1f4a9}'
    const key = keyOf(
      { mailFrom: 'a\r\nb:*' },
      source({ version, memory: { inputs: VERDICT_INPUTS, settings: version } }),
    )
    expect(key).toMatch(/^ecluse:v1:spam:[0-9a-f]{24}:[0-9a-f]{24}:(?:ab){32}-[0-9a-f]{64}$/)
    expect(key.length).toBeLessThanOrEqual(220)
  })

  test('ends with the digest where nothing else is told', () => {
    const key = keyOf({}, source({ memory: { inputs: ['content'], settings: '{}' } }))
    expect(key.endsWith(`:${DIGEST}`)).toBe(true)
  })

  test('is none without a digest', () => {
    const { id, sizeBytes, digest, header } = request().message
    const message = { id, sizeBytes, digest, header, open: () => Readable.from([]) }
    expect(verdictPlace(source(), { ...request(), message })).toBeUndefined()
  })

  test.each<[string, Told]>([
    ['content', { content: { digest: 'cd'.repeat(32) } }],
    ['client address', { client: { address: '192.0.2.2', helo: 'x', name: 'y' } }],
    ['HELO', { client: { address: '192.0.2.1', helo: 'z', name: 'y' } }],
    ['client name', { client: { address: '192.0.2.1', helo: 'x', name: 'z' } }],
    ['a value that moves to another field', { client: { address: '192.0.2.1', helo: 'y', name: 'x' } }],
    ['protocol', { client: { address: '192.0.2.1', helo: 'x', name: 'y', protocol: 'SMTP' } }],
    ['no client', { client: {} }],
    ['envelope sender', { mailFrom: 'A@b' }],
    ['null sender', { mailFrom: '' }],
    ['a byte that is not UTF-8', { mailFrom: 'a\udc80@b' }],
    ['recipient', { recipients: ['e@d'] }],
    ['one more recipient', { recipients: ['c@d', 'c@d'] }],
    ['host name', { hostname: 'i' }],
    ['a password at submission', { content: { trace: [RECEIVED.replace('ESMTP', 'ESMTPSA')] } }],
    ['an address of the envelope in the header', { content: { trace: ['Delivered-To: x'] } }],
  ])('is another one for another %s', (_, told) => {
    expect(keyOf(told)).not.toBe(keyOf({}))
  })

  test.each<[string, Partial<VerdictSource>]>([
    ['scanner', { scanner: 'other' }],
    ['version', { version: 'SpamAssassin 5' }],
    ['options', { memory: { inputs: VERDICT_INPUTS, settings: '{"user":"x"}' } }],
  ])('is another one for another %s', (_, changes) => {
    expect(keyOf({}, source(changes))).not.toBe(keyOf({}))
  })

  test('is the same for copies that came at another time, and for what no scanner is told', () => {
    const other = RECEIVED.replace('id 1', 'id 2').replace('10:00', '11:00')
    expect(keyOf({ content: { trace: [other] } })).toBe(keyOf({ content: { trace: [RECEIVED] } }))
    const client = { address: '192.0.2.1', helo: 'x', name: 'y', queueId: 'Q', port: 25 }
    expect(keyOf({ client })).toBe(keyOf({}))
  })

  test('without a client it depends on the relays that the message names', () => {
    const by = (from: string): string =>
      keyOf({ client: {}, content: { trace: [RECEIVED.replace('from a', `from ${from}`)] } })
    expect(by('a')).not.toBe(by('c'))
  })

  test('property: two requests that differ in what is told have two places', () => {
    const text = fc.string({ unit: 'binary', maxLength: 6 })
    const told: fc.Arbitrary<Told> = fc.record(
      {
        client: fc.record({ address: text, helo: text, name: text, protocol: text }, { requiredKeys: [] }),
        mailFrom: text,
        recipients: fc.array(text, { maxLength: 4 }),
        hostname: text,
      },
      { requiredKeys: ['client', 'mailFrom', 'recipients', 'hostname'] },
    )
    fc.assert(
      fc.property(told, told, (one, other) => {
        expect(keyOf(one) === keyOf(other)).toBe(sameTold(one, other))
      }),
      { numRuns: 500 },
    )
  })

  test('the trace is that of fields that our Postfix did not write', () => {
    const traceOf = (...trace: string[]) => verdictPlace(source(), request({ content: { trace } }))?.trace()
    expect(traceOf(RECEIVED)).toBe(traceOf())
    expect(traceOf(RECEIVED, 'Received: x')).toBe(traceOf('Received: y', 'Received: x'))
    expect(traceOf(RECEIVED, 'Received: x')).not.toBe(traceOf(RECEIVED, 'Received: y'))
  })
})

function sameTold(one: Told, other: Told): boolean {
  const parts = ({ client = {}, mailFrom, recipients, hostname }: Told): string =>
    JSON.stringify([
      [client.address, client.helo, client.name, client.protocol].map((value) => value ?? null),
      mailFrom,
      recipients,
      hostname,
    ])
  return parts(one) === parts(other)
}
