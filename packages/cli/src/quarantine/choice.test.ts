/* What filters choose, and the actions on many messages: list, stats, export, rescan, expire. */
import { expect, test } from '@jest/globals'
import type { ConfiguredScanner } from '@ecluse/core'
import {
  FakeGate,
  judgeOf,
  keep,
  kept,
  MAIL,
  run,
  SPAM,
  useQuarantine,
  VIRUS,
} from '../../test/quarantineKit.ts'
import type { QuarantineSetup } from './task.ts'

useQuarantine()

const OTHER = 'Bother000003'

async function keepThree(): Promise<void> {
  await keep({ id: SPAM, day: 1 })
  await keep({ id: VIRUS, day: 20, virus: true, envelope: { mailFrom: '' } })
  const envelope = { recipients: [{ address: 'carl@example.com' }] }
  await keep({ id: OTHER, day: 23, envelope, mail: 'Subject: hi there\r\n\r\nFrom me\r\n>From you\r\nlast' })
}

const listed = async (...options: string[]): Promise<unknown> => {
  const { code, out } = await run(['list', '--json', ...options])
  return code === 0 ? (JSON.parse(out) as { id: string }[]).map(({ id }) => id) : code
}

test.each<[string[], string[]]>([
  [[], [OTHER, VIRUS, SPAM]],
  [['--limit', '1'], [OTHER]],
  [['--limit', '1', '--offset', '1'], [VIRUS]],
  [['--after', VIRUS], [SPAM]],
  [['--category', 'virus'], [VIRUS]],
  [
    ['--category', 'virus', '--category', 'spam'],
    [OTHER, VIRUS, SPAM],
  ],
  [['--recipient', 'example.com'], [OTHER]],
  [
    ['--recipient', 'bob@example.org'],
    [VIRUS, SPAM],
  ],
  [['--sender', ''], [VIRUS]],
  [
    ['--sender', 'M@Example.Net'],
    [OTHER, SPAM],
  ],
  [
    ['--min-score', '21.5'],
    [OTHER, SPAM],
  ],
  [['--max-score', '21.4'], []],
  [['--older-than', '10d'], [SPAM]],
  [
    ['--newer-than', '10d'],
    [OTHER, VIRUS],
  ],
  [['--older-than', '2d', '--newer-than', '10d'], [VIRUS]],
  [['--subject', 'HI TH'], [OTHER]],
])('list %j', async (options, expected) => {
  await keepThree()
  expect(await listed(...options)).toEqual(expected)
})

test.each([
  [['--limit=-1'], '--limit: expected a number, got "-1"'],
  [['--category', 'ham\u001b'], '--category: expected one of: virus, '],
  [['--min-score', 'x'], '--min-score: expected a number of points'],
  [['--older-than', '10'], '--older-than: expected a duration such as 30s, 5m, 2h or 30d, got "10"'],
])('refuses %j', async (options, message) => {
  const refused = await listed(...options)
  expect(refused).toContain(`E_USAGE quarantine list: ${message}`)
  // oxlint-disable-next-line no-control-regex -- none is allowed
  expect(refused).not.toMatch(/[\x00-\x1f]/)
})

test('stats: a table for people, and figures for scripts', async () => {
  await keepThree()
  const { bytes } = await kept.store.usage()
  expect((await run('stats')).out.replaceAll(/[\d.]+ Ki?B/g, 'SIZE')).toBe(
    [
      'CATEGORY    MESSAGES       SIZE  OLDEST (UTC)      NEWEST (UTC)',
      'virus              1    SIZE  2026-11-20 08:00  2026-11-20 08:00',
      'spam               2    SIZE  2026-11-01 08:00  2026-11-23 08:00',
      'total              3    SIZE',
      '0 of them wait for nobody: released or deleted for all',
      '',
    ].join('\n'),
  )
  expect(JSON.parse((await run('stats --json --category spam')).out)).toMatchObject({
    files: 2,
    categories: [{ category: 'spam', oldest: '2026-11-01T08:00:00.000Z' }],
  })
  expect(JSON.parse((await run('stats --json')).out)).toMatchObject({ files: 3, bytes, settled: 0 })
})

test('export: the bytes of one, or an mbox of those that are chosen', async () => {
  await keepThree()
  expect((await run(`export ${SPAM}`)).out).toBe(MAIL)
  expect((await run('export')).code).toContain('E_USAGE quarantine export: of which message?')
  expect(await run('export --format mbox --recipient example.com')).toEqual({
    code: 0,
    err: '',
    out: 'From m@example.net Mon Nov 23 08:00:00 2026\nSubject: hi there\n\n>From me\n>>From you\nlast\n\n',
  })
  const { out } = await run('export --format mbox')
  expect(out.match(/^From .*/gm)).toEqual([
    'From m@example.net Mon Nov 23 08:00:00 2026',
    'From MAILER-DAEMON Fri Nov 20 08:00:00 2026',
    'From m@example.net Sun Nov  1 08:00:00 2026',
  ])
})

test('export: a line of any length', async () => {
  const long = 'x'.repeat(300_000)
  await keep({ id: SPAM, day: 1, mail: `Subject: s\r\n\r\nFrom ${long}\r\nFrom x\r\n` })
  expect((await run(`export ${SPAM} --format mbox`)).out).toBe(
    `From m@example.net Sun Nov  1 08:00:00 2026\nSubject: s\n\n>From ${long}\n>From x\n\n`,
  )
})

test('show --attachments: their names alone', async () => {
  await keep({ id: SPAM, day: 1 })
  expect((await run(`show ${SPAM} --attachments`)).out).toBe('a\\u{202e}gpj.exe (application/zip, 3 bytes)\n')
})

const TODAY = { scanners: [{ name: 'test', kind: 'test' }] }
const rescanning = (
  input: Readonly<Record<string, unknown>>,
  gate = new FakeGate(),
): Partial<QuarantineSetup> => ({
  openGate: () => gate,
  openJudge: async () => judgeOf(input),
})

test('rescan: tells what would now pass, and for whom, and changes nothing', async () => {
  await keepThree()
  await keep({ id: 'Cstill000004', day: 22, mail: 'Subject: x\r\n\r\nECLUSE-TEST-SCORE=99\r\n' })
  expect(await run('rescan', rescanning(TODAY))).toEqual({
    code: 0,
    err: '',
    out: [
      'ID            WAS         WOULD PASS FOR',
      'Bother000003  spam        <carl@example.com> (clean)',
      'Avirus000002  virus       <anna@example.org> (clean), <bob@example.org> (clean)',
      'Aspam0000001  spam        <anna@example.org> (clean), <bob@example.org> (clean)',
      '4 looked at, 3 would pass',
      '',
    ].join('\n'),
  })
  expect((await kept.store.stats()).settled).toBe(0)
  const { out } = await run('rescan --json --category virus', rescanning(TODAY))
  expect(JSON.parse(out)).toMatchObject([
    { id: VIRUS, category: 'virus', recipients: [{ passes: true }, { passes: true }] },
  ])
})

test('rescan: lets nothing out that a scanner could not look at', async () => {
  await keep({ id: SPAM, day: 1 })
  const failing: ConfiguredScanner = {
    name: 'dead',
    kind: 'spamd',
    concerns: ['spam'],
    timeoutMs: 60_000,
    onError: 'pass',
    scanner: {
      scan: async () => await Promise.reject(new TypeError('unexpected')),
      version: async () => ({ engine: 'dead' }),
    },
  }
  const { out } = await run('rescan', { openJudge: async () => ({ ...judgeOf({}), scanners: [failing] }) })
  expect(out).toMatch(/\n1 looked at, 0 would pass\n$/)
})

test('rescan --release: those get it for whom it now passes', async () => {
  await keep({ id: SPAM, day: 1, mail: 'Subject: x\r\n\r\nECLUSE-TEST-SCORE=9\r\n' })
  const gate = new FakeGate()
  const strict = {
    ...TODAY,
    policies: [{ name: 'b', when: { recipients: ['bob@example.org'] }, policy: { killLevel: 8 } }],
  }
  const { code, err } = await run('rescan --release', rescanning(strict, gate))
  expect([code, err]).toEqual([0, `${SPAM}: <anna@example.org>: released, 250 2.0.0 Ok: queued as X\n`])
  expect(gate.requests.map(({ request }) => request.recipients)).toEqual([[{ address: 'anna@example.org' }]])
  expect((await run('rescan --release', rescanning(strict, gate))).out).toMatch(
    /1 looked at, 0 would pass\n$/,
  )
})

test.each([
  ['bob@example.org', [['anna@example.org']]],
  ['anna@example.org, bob@example.org', []],
])('rescan --release: those do not get it who got it by hand during the scan: %s', async (by, expected) => {
  await keep({ id: SPAM, day: 1 })
  const released = { at: new Date(), by: 'root', to: by.split(', '), as: 'plain' } as const
  const slow: ConfiguredScanner = {
    name: 'slow',
    kind: 'clamd',
    concerns: ['virus'],
    timeoutMs: 60_000,
    onError: 'tempfail',
    scanner: {
      async scan() {
        await kept.store.markReleased(SPAM, released)
        return { findings: [] }
      },
      version: async () => ({ engine: 'slow' }),
    },
  }
  const gate = new FakeGate()
  const openJudge = async (): ReturnType<QuarantineSetup['openJudge']> => ({
    ...judgeOf({}),
    scanners: [slow],
  })
  expect((await run('rescan --release', { openGate: () => gate, openJudge })).code).toBe(0)
  expect(gate.requests.map(({ request }) => request.recipients.map(({ address }) => address))).toEqual(
    expected,
  )
})
