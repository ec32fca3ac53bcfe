import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { FakeGate } from '../test/gate.ts'
import { envelope, ID, message, record, SPAM, VIRUS, type SampleOptions } from '../test/sample.ts'
import { createFileStore } from './fileStore.ts'
import { releaseMessage, type ReleaseRequest } from './releaseMessage.ts'
import type { QuarantineStore } from './store.ts'

const MAIL = 'From: <m@example.net>\r\nSubject: Win\r\n\r\nClick\r\n'
const NOW = new Date('2026-11-24T09:00:00Z')

let directory: string
let store: QuarantineStore

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-release-'))
  store = createFileStore(directory)
  await store.prepare()
})
afterEach(async () => {
  await store.close()
  await rm(directory, { recursive: true, force: true })
})

async function release(
  gate: FakeGate,
  wish: Partial<ReleaseRequest> = {},
): ReturnType<typeof releaseMessage> {
  const request = { now: NOW, by: 'root', signal: new AbortController().signal, ...wish }
  return await releaseMessage({ store, gate, hostname: 'filter.example.org' }, await store.open(ID), request)
}

async function keep(options: SampleOptions = {}): Promise<void> {
  await store.put(record(options), message(MAIL), new AbortController().signal)
}

test('hands it over with its own envelope, and records who got it', async () => {
  await keep({ envelope: envelope({ envid: 'E1' }) })
  const gate = new FakeGate('bob')
  expect((await release(gate)).map(({ outcome }) => outcome)).toEqual(['relayed', 'refused'])
  expect(gate.requests).toMatchObject([
    { id: ID, allOrNothing: false, envelope: { mailFrom: 'sender@example.net', envid: 'E1' }, bytes: MAIL },
  ])
  expect((await store.get(ID)).releases).toEqual([
    { at: NOW, by: 'root', to: ['anna@example.org'], as: 'plain' },
  ])
})

test('records nothing of what nobody got', async () => {
  await keep()
  await release(new FakeGate('anna', 'bob'))
  expect((await store.get(ID)).releases).toEqual([])
})

test('hands over nothing that may not go', async () => {
  await keep({ assessment: VIRUS })
  const gate = new FakeGate()
  await expect(release(gate)).rejects.toMatchObject({
    code: 'E_QUARANTINE',
    message: `${ID}: INFECTED: Eicar-Test-Signature, Win.Trojan-1`,
    hint: 'use --force to deliver it all the same',
  })
  expect(gate.requests).toEqual([])
})

test('sends a virus attached to a note of ours, with an envelope of ours', async () => {
  await keep({ assessment: VIRUS, envelope: envelope({ envid: 'E1', ret: 'FULL' }) })
  const gate = new FakeGate()
  await release(gate, { as: 'attachment', force: true })
  const [sent] = gate.requests
  expect(sent?.envelope).toEqual({
    protocol: 'lmtp',
    peer: { address: '127.0.0.1', helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
    smtpUtf8: false,
    mailFrom: 'postmaster@filter.example.org',
    body: '8BITMIME',
    client: {},
    recipients: [{ address: 'anna@example.org' }, { address: 'bob@example.org' }],
  })
  expect(sent?.bytes).toMatch(
    /^From: <postmaster@filter\.example\.org>\r\nTo: <anna@example\.org>,\r\n <bob@/,
  )
  expect(sent?.bytes).toContain(`\r\nas ${ID}: INFECTED: Eicar-Test-Signature, Win.Trojan-1.\r\n`)
  expect(sent?.bytes).toContain(`\r\n\r\n${MAIL}\r\n--=_`)
  expect((await store.get(ID)).releases).toMatchObject([{ as: 'attachment' }])
})

test.each([
  ['plain', [], true],
  ['plain', ['new@x'], true],
  ['resend', [], false],
] as const)('sends it as %s to %j: the very bytes %s', async (as, to, same) => {
  await keep({ assessment: SPAM })
  const gate = new FakeGate()
  await release(gate, { as, to })
  const bytes = gate.requests[0]?.bytes ?? ''
  expect(bytes.endsWith(MAIL)).toBe(true)
  expect(bytes === MAIL).toBe(same)
  expect(bytes.startsWith('Resent-From: ')).toBe(!same)
})
