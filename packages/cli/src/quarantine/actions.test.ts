import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { escapeControls } from '../terminal.ts'
import { FakeGate, keep, kept, MAIL, run, SPAM, useQuarantine, VIRUS } from '../../test/quarantineKit.ts'

useQuarantine()

const DAY = 86_400_000

test('lists the newest first, one line each, and nothing of it moves the cursor', async () => {
  await keep({ id: SPAM, day: 1 })
  await keep({
    id: VIRUS,
    day: 2,
    virus: true,
    envelope: { mailFrom: '', recipients: [{ address: 'é\udcff\u202e@x' }] },
  })
  expect(await run('list --config x')).toEqual({
    code: 0,
    err: '',
    out: [
      'ID            STORED (UTC)      CATEGORY    SCORE     FROM                        TO                          SUBJECT',
      'Avirus000002  2026-11-02 08:00  virus       -         <>                          é\\xff\\u{202e}@x             Win \\x1b]0;x\\x07\\u{202e}',
      'Aspam0000001  2026-11-01 08:00  spam        21.5      m@example.net               anna@example.org +1         Win \\x1b]0;x\\x07\\u{202e}',
      '',
    ].join('\n'),
  })
})

test('lists as JSON with the keys that scripts rely on', async () => {
  await keep({ id: SPAM, day: 1 })
  await keep({ id: VIRUS, day: 2, virus: true, envelope: { recipients: [{ address: '\udcff@x' }] } })
  const { code, out } = await run('list --json --config x')
  expect(code).toBe(0)
  expect(JSON.parse(out)).toEqual([
    {
      id: VIRUS,
      category: 'virus',
      storedAt: '2026-11-02T08:00:00.000Z',
      mailFrom: 'm@example.net',
      recipients: ['\udcff@x'],
      subject: 'Win \u001b]0;x\u0007\u202e',
      size: Buffer.byteLength(MAIL),
      reasons: ['INFECTED: Eicar'],
      states: ['kept'],
    },
    expect.objectContaining({ id: SPAM, score: 21.5, recipients: ['anna@example.org', 'bob@example.org'] }),
  ])
  expect(out).toMatch(/^[\n\x20-\x7e]+$/)
})

test('lists nothing of an empty quarantine', async () => {
  expect(await run('list --config x')).toEqual({ code: 0, out: '', err: '' })
  expect(await run('list --json --config x')).toEqual({ code: 0, out: '[]\n', err: '' })
})

test('lists the others when one file is damaged, and says which', async () => {
  await keep({ id: SPAM, day: 1 })
  await writeFile(join(kept.directory, 'A/spam-A00000000001.eml'), 'broken')
  const { code, out, err } = await run('list --json --config x')
  expect([code, JSON.parse(out)]).toEqual([0, [expect.objectContaining({ id: SPAM })]])
  expect(err).toBe(`ecluse: ${kept.directory}/A/spam-A00000000001.eml: is not a file of the quarantine\n`)
})

test('shows a message to people', async () => {
  await keep({ id: VIRUS, day: 2, virus: true })
  const { code, out } = await run(`show ${VIRUS} --config x`)
  expect(code).toBe(0)
  expect(out).toBe(`Id:        Avirus000002
Category:  virus
Stored:    2026-11-02T08:00:00.000Z
Size:      ${Buffer.byteLength(MAIL)} bytes
Client:    [192.0.2.7], helo evil\\x1b[31m, queue id 4F5A
Handed by: unix socket (mail.example.org)
Sender:    <m@example.net>
Recipients:
  <anna@example.org>: discard, virus, INFECTED: Eicar
  <bob@example.org>: discard, virus, INFECTED: Eicar

Header of the original:
  From: Mallory <m@example.net>
  Subject: =?utf-8?q?Win_=1B]0;x=07=E2=80=AE?=
  Content-Type: multipart/mixed; boundary=b

Text:
  Click \\x1b[2Jhere

Attachments:
  a\\u{202e}gpj.exe (application/zip, 3 bytes)
`)
})

test('shows a message to scripts, and its very bytes', async () => {
  await keep({ id: SPAM, day: 1 })
  const shown: unknown = JSON.parse((await run(`show ${SPAM} --json --config x`)).out)
  expect(shown).toMatchObject({
    id: SPAM,
    outcomes: [{ address: 'anna@example.org', destiny: 'discard' }, { address: 'bob@example.org' }],
    message: { text: 'Click \u001b[2Jhere', attachments: [{ type: 'application/zip' }] },
  })
  expect((await run(`show ${SPAM} --raw --config x`)).out).toBe(MAIL)
})

test('releases the original with its envelope, and tells the reply for each recipient', async () => {
  await keep({ id: SPAM, day: 1, envelope: { envid: 'E1' } })
  const gate = new FakeGate()
  expect(await run(`release ${SPAM} --config x`, { openGate: () => gate })).toEqual({
    code: 1,
    out:
      '<anna@example.org>: released, 250 2.0.0 Ok: queued as X\n' +
      '<bob@example.org>: refused at rcpt, 550 5.1.1 no \\x1b[31mbob\n' +
      'To let mail of this sender through, add to `senders:` of the configuration\n' +
      '  - { action: allow, senders: [m@example.net], recipients: [anna@example.org] }\n',
    err: '',
  })
  expect(gate.closed).toBe(1)
  expect(gate.requests).toMatchObject([
    {
      bytes: MAIL,
      request: { id: SPAM, allOrNothing: false, envelope: { mailFrom: 'm@example.net', envid: 'E1' } },
    },
  ])
  expect(await kept.store.get(SPAM)).toMatchObject({
    outcomes: [{ state: 'released' }, { state: 'kept' }],
    releases: [{ by: 'root', at: new Date('2026-11-24T08:00:00Z'), to: ['anna@example.org'], as: 'plain' }],
  })
})

test('resends to others, with fields that say so above the original', async () => {
  await keep({ id: SPAM, day: 1 })
  const gate = new FakeGate()
  const { code, out } = await run(`release ${SPAM} --to new@x --to anna@example.org --config x`, {
    openGate: () => gate,
  })
  expect([code, out.split('\n').length]).toEqual([0, 5])
  const [sent] = gate.requests
  expect(sent?.bytes).toMatch(
    /^Resent-From: <postmaster@filter\.example\.org>\r\nResent-To: new@x,\r\n anna@example\.org\r\n/,
  )
  expect(sent?.bytes.endsWith(`>\r\n${MAIL}`)).toBe(true)
  expect(sent?.request.message.sizeBytes).toBe(Buffer.byteLength(sent?.bytes ?? ''))
})

test('releases a virus by force only', async () => {
  await keep({ id: VIRUS, day: 1, virus: true })
  const gate = new FakeGate()
  const openGate = (): FakeGate => gate
  expect((await run(`release ${VIRUS} --to anna@example.org --config x`, { openGate })).code).toBe(
    `E_QUARANTINE ${VIRUS}: INFECTED: Eicar (use --force to deliver it all the same)`,
  )
  expect(gate.requests).toEqual([])
  expect((await run(`release ${VIRUS} --to anna@example.org --force --config x`, { openGate })).code).toBe(0)
})

test('deletes one, and what is too old', async () => {
  await keep({ id: SPAM, day: 1 })
  await keep({ id: VIRUS, day: 20, virus: true })
  await keep({ id: 'Aspam0000003', day: 2 })
  expect(await run(`delete ${SPAM} --config x`)).toMatchObject({ code: 0, out: `${SPAM}: deleted\n` })
  expect((await run(`delete ${SPAM} --config x`)).code).toMatch(
    /^E_QUARANTINE Aspam0000001: is not in quarantine/,
  )
  expect((await run('expire --config x')).code).toMatch(/^E_CONFIG quarantine\.keep: is not set/)
  expect(
    await run('expire --config x', { retention: { keepMs: { spam: 10 * DAY, virus: 10 * DAY } } }),
  ).toMatchObject({
    code: 0,
    out: '1 deleted\n',
  })
  const left: string[] = []
  for await (const { id } of kept.store.list()) left.push(id)
  expect(left).toEqual([VIRUS])
})

test.each([
  ['', 'quarantine: say what to do'],
  ['toString', 'quarantine toString: unknown'],
  ['list x', 'quarantine list: too many arguments'],
  ['show', 'quarantine show: of which message?'],
  ['delete a b', 'quarantine delete: too many arguments'],
  ['list --raw', 'quarantine list: does not know --raw'],
  ['show a --force', 'quarantine show: does not know --force'],
  ['show a --json --raw', 'quarantine show: either --json or --raw'],
])('refuses the usage %j', async (args, message) => {
  expect((await run(args)).code).toContain(`E_USAGE ${message}`)
})

const NO_IDS: readonly (readonly [string, string])[] = [
  ['../../etc/passwd', '../../etc/passwd'],
  ['../../x', '../../x'],
  ['x'.repeat(10_000), 'x'.repeat(64)],
  ['Aspam000000\0', String.raw`Aspam000000\u0000`],
  ['Aspam0000001\n', String.raw`Aspam0000001\n`],
  ['Aspam0000001\r\nX', String.raw`Aspam0000001\r\nX`],
  ['\u001b[2J\u202e', String.raw`\u001b[2J\u{202e}`],
]

describe.each(['show', 'show --raw', 'release', 'release --force', 'delete', 'export'])('%s', (name) => {
  test.each(NO_IDS)('refuses %j, which is not an id, in one line', async (id, shown) => {
    await keep({ id: SPAM, day: 1 })
    const openGate = (): never => {
      throw new TypeError('nothing is released')
    }
    const { code, out, err } = await run([...name.split(' '), id], { openGate })
    expect({ out, err }).toEqual({ out: '', err: '' })
    expect(code).toMatch(/^E_QUARANTINE /)
    const told = escapeControls(String(code))
    expect(told).toContain(
      `"${shown}": is not an id (12 characters, as \`ecluse quarantine list\` shows them)`,
    )
    expect(told.length).toBeLessThan(250)
    expect((await kept.store.stats()).files).toBe(1)
  })
})
