import { expect, test } from '@jest/globals'
import { FilterError, type DeliveryResult, type Message } from '@ecluse/core'
import { FakeGate } from '../test/gate.ts'
import { envelope, ID, message, record, SPAM, VIRUS } from '../test/sample.ts'
import { readFields } from './fields.ts'
import { createMailboxStore } from './mailboxStore.ts'
import type { ReleaseGate } from './releaseMessage.ts'
import type { QuarantineStore } from './store.ts'

const MAILBOX = 'quarantine@example.org'
const MAIL = 'From: <m@example.net>\r\nSubject: =?utf-8?q?Gew=C3=BCnn?=\r\n\r\n..Click\r\n'
const never = new AbortController().signal

function storeWith(gate: ReleaseGate): { readonly store: QuarantineStore; readonly closed: () => number } {
  let closed = 0
  const closing = {
    deliver: async (...of: Parameters<ReleaseGate['deliver']>) => await gate.deliver(...of),
    close: async () => void closed++,
  }
  return {
    store: createMailboxStore({ mailbox: MAILBOX, hostname: 'filter.example.org', gate: closing }),
    closed: () => closed,
  }
}

test.each([
  ['in memory', message(MAIL)],
  ['in a file', message(MAIL, { stream: true })],
])(
  'sends a message %s as one mail for all recipients, whole, below the fields of the quarantine',
  async (_, kept) => {
    const gate = new FakeGate()
    await storeWith(gate).store.put(record({ assessment: VIRUS }), kept, never)
    const [sent, ...more] = gate.requests
    expect(more).toEqual([])
    expect(sent).toMatchObject({
      id: ID,
      allOrNothing: false,
      recipients: [{ address: MAILBOX }],
      envelope: { mailFrom: '', recipients: [{ address: MAILBOX }], client: {}, smtpUtf8: false },
    })
    const bytes = Buffer.from(sent?.bytes ?? '', 'latin1')
    const fields = readFields(bytes)
    if (typeof fields === 'number') throw new Error('too few bytes')
    expect(fields.entry).toMatchObject({
      id: ID,
      subject: 'Gewünn',
      outcomes: [
        { recipient: { address: 'anna@example.org' } },
        { recipient: { address: 'bob@example.org' } },
      ],
    })
    expect(bytes.subarray(fields.headerBytes).toString('latin1')).toBe(MAIL)
    expect(sent?.message.sizeBytes).toBe(bytes.length)
    expect(sent?.bytes).toMatch(
      /^Return-Path: <sender@example\.net>\r\n[^]*^X-Quarantine-ID: <Abc-123_xyZ9>\r$/m,
    )
  },
)

test('gives what it holds in memory at once, and the same', async () => {
  const gate = new FakeGate()
  await storeWith(gate).store.put(record(), message(MAIL), never)
  const chunks = gate.requests[0]?.message.chunks ?? []
  expect(Buffer.concat(chunks).toString('latin1')).toBe(gate.requests[0]?.bytes)
})

test('asks for SMTPUTF8 where the message came with it', async () => {
  const gate = new FakeGate()
  await storeWith(gate).store.put(record({ envelope: envelope({ smtpUtf8: true }) }), message(MAIL), never)
  expect(gate.requests[0]?.envelope.smtpUtf8).toBe(true)
})

const refused = {
  outcome: 'refused',
  mta: 'x',
  stage: 'rcpt',
  line: `550 5.1.1 ${'no '.repeat(1000)}`,
} as const
const failed = { outcome: 'failed', error: new FilterError('E_REINJECT_CONNECT', '127.0.0.1:10025') } as const

test.each([
  ['refused', refused, /^Abc-123_xyZ9: not sent to quarantine@example\.org: 550 5\.1\.1 no [no ]{1,300}$/],
  ['not taken', failed, /^Abc-123_xyZ9: not sent to quarantine@example\.org: 127\.0\.0\.1:10025$/],
  ['withheld', { outcome: 'withheld' } as const, /^Abc-123_xyZ9: not sent to quarantine@example\.org$/],
])('is not kept where it was %s, and is sent when it comes again', async (_, result, text) => {
  let tries = 0
  const { store } = storeWith({
    deliver: async ({ recipients }) =>
      recipients.map((recipient): DeliveryResult => {
        tries++
        return tries === 1
          ? { recipient, ...result }
          : { recipient, outcome: 'relayed', mta: 'x', line: '250 Ok' }
      }),
  })
  const put = async (): Promise<void> => await store.put(record(), message(MAIL), never)
  await expect(put()).rejects.toMatchObject({ code: 'E_QUARANTINE', message: expect.stringMatching(text) })
  await put()
  expect(tries).toBe(2)
})

test('is not sent again when it comes again under its id, and others are', async () => {
  const gate = new FakeGate()
  const { store } = storeWith(gate)
  const other: Message = message(MAIL, { id: 'Abc-123_xyZ0' })
  await store.put(record({ assessment: SPAM }), message(MAIL), never)
  await store.put(record({ assessment: SPAM }), message(MAIL), never)
  await store.put(record({ id: other.id }), other, never)
  expect(gate.requests.map(({ id }) => id)).toEqual([ID, other.id])
})

test('remembers a bounded number of ids', async () => {
  const gate = new FakeGate()
  const { store } = storeWith(gate)
  const first = (): Promise<void> => store.put(record(), message(MAIL), never)
  await first()
  for (let index = 0; index < 1000; index++) {
    const id = `Abc-123_${String(index).padStart(4, '0')}`
    await store.put(record({ id }), message(MAIL, { id }), never)
  }
  await first()
  expect(gate.requests).toHaveLength(1002)
})

test('has nothing to list or release, says where it is, and has nothing to expire', async () => {
  const { store, closed } = storeWith(new FakeGate())
  const release = { at: new Date(), by: 'root', to: ['a@x'], as: 'plain' } as const
  const asked: (() => Promise<unknown>)[] = [
    async () => await store.list()[Symbol.asyncIterator]().next(),
    async () => await store.get(ID),
    async () => await store.open(ID),
    async () => await store.delete(ID),
    async () => await store.markReleased(ID, release),
    async () => await store.stats(),
    async () => await store.rebuild(),
  ]
  for (const ask of asked) {
    await expect(ask()).rejects.toMatchObject({
      code: 'E_QUARANTINE',
      message: 'what is kept is mail in quarantine@example.org: nothing is listed or released here',
      hint: expect.stringContaining('X-Quarantine-ID'),
    })
  }
  await store.prepare()
  await store.check()
  expect(await store.usage()).toEqual({ files: 0, bytes: 0 })
  const work = { now: new Date(), limit: 10, signal: never }
  expect(await store.expire({ keepMs: {} }, work)).toEqual({ files: 0, bytes: 0, more: false })
  await store.close()
  expect(closed()).toBe(1)
})
