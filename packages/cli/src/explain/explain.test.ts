import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { explained, runExplain, type Ran } from '../../test/explaining.ts'
import { INVISIBLE } from '../terminal.ts'
import type { Explanation } from './explanation.ts'

let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ecluse-why-'))
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

const CONFIG = 'localDomains: [example.org]\nnetworks: [192.0.2.0/24]\nscanners: [{ kind: test }]\n'

async function files(yaml: string, message: string): Promise<string[]> {
  const [config, file] = [join(folder, 'e.yaml'), join(folder, 'm.eml')]
  await writeFile(config, yaml)
  await writeFile(file, message, 'latin1')
  return ['--config', config, file]
}

async function why(message: string, args = '', yaml = CONFIG): Promise<Explanation> {
  const options = args.split(' ').filter((word) => word !== '')
  return await explained(...(await files(yaml, message)), ...options)
}

async function run(message: string, args = '', yaml = CONFIG): Promise<Ran> {
  const options = args.split(' ').filter((word) => word !== '')
  const { code, out, lines } = await runExplain(...(await files(yaml, message)), ...options)
  return {
    code,
    out: out.replaceAll(folder, 'FOLDER'),
    lines: lines.map((line) => line.replaceAll(folder, 'FOLDER')),
  }
}

describe('the envelope', () => {
  test.each([
    [
      'what is asked for',
      'Return-Path: <r@x>\nTo: t@x.example\n\n',
      '--sender s@x --rcpt a@x --rcpt a@x',
      's@x',
      '--sender',
      ['a@x', 'a@x'],
      '--rcpt',
    ],
    ['the null sender', 'To: t@x.example\n\n', '--sender <>', '', '--sender', ['t@x.example'], 'To'],
    [
      'Return-Path',
      'Return-Path: <r@x>\nX-Envelope-From: <e@x>\nTo: t@x.example\n\n',
      '',
      'r@x',
      'Return-Path',
      ['t@x.example'],
      'To',
    ],
    [
      'a null Return-Path',
      'Return-Path: <>\nFrom: f@x.example\nTo: t@x.example\n\n',
      '',
      '',
      'Return-Path',
      ['t@x.example'],
      'To',
    ],
    [
      'X-Envelope-From',
      'X-Envelope-From: <e@x>\nTo: t@x.example\n\n',
      '',
      'e@x',
      'X-Envelope-From',
      ['t@x.example'],
      'To',
    ],
    [
      'From',
      'From: F <f@x.example>\nTo: T <t@x.example>, u@x.example,\n\tt@x.example\n\n',
      '',
      'f@x.example',
      'From',
      ['t@x.example', 'u@x.example'],
      'To',
    ],
    ['no sender at all', 'To: t@x.example\n\n', '', '', 'nothing', ['t@x.example'], 'To'],
    [
      'Delivered-To before To',
      'Delivered-To: d@x.example\nTo: t@x.example\n\n',
      '',
      '',
      'nothing',
      ['d@x.example'],
      'Delivered-To',
    ],
    [
      'Delivered-To without a domain',
      'Delivered-To: root\nTo: t@x.example\n\n',
      '',
      '',
      'nothing',
      ['root'],
      'Delivered-To',
    ],
    [
      'X-Original-To first',
      'X-Original-To: o@x.example\nDelivered-To: d@x.example\n\n',
      '',
      '',
      'nothing',
      ['o@x.example'],
      'X-Original-To',
    ],
    [
      'X-Envelope-To',
      'X-Envelope-To: <a@x.example>,\n <b@x.example>\nTo: t@x.example\n\n',
      '',
      '',
      'nothing',
      ['a@x.example', 'b@x.example'],
      'X-Envelope-To',
    ],
  ])(
    'is that of %s',
    async (_name, message, args, mailFrom, mailFromSource, recipients, recipientsSource) => {
      const { envelope } = await why(message, args)
      expect(envelope).toMatchObject({ mailFrom, mailFromSource, recipients, recipientsSource })
      expect(envelope.mailFromGuessed).toBe(mailFromSource !== '--sender')
      expect(envelope.recipientsGuessed).toBe(recipientsSource !== '--rcpt')
    },
  )

  test.each([
    ['', true, 'outbound', undefined],
    ['--client 192.0.2.9', true, 'outbound', '192.0.2.0/24'],
    ['--client 198.51.100.9', false, 'open-relay', undefined],
    ['--client ::ffff:192.0.2.9', true, 'outbound', '192.0.2.0/24'],
  ])('of a client %j is originating: %s', async (args, value, direction, entry) => {
    const explanation = await why('To: t@x.example\n\n', args)
    expect(explanation.originating.value).toBe(value)
    expect(explanation.originating.entry?.entry).toBe(entry)
    expect(explanation.direction).toBe(direction)
  })

  test('says that networks are those by default', async () => {
    const { originating } = await why('To: t@x.example\n\n', '--client ::1', 'localDomains: [example.org]\n')
    expect(originating.entry).toEqual({ entry: '::1/128', negated: false, place: 'default' })
  })

  test('comes in where it is told', async () => {
    const yaml = `${CONFIG}listen:
  - { protocol: lmtp, address: '127.0.0.1:10024' }
  - { protocol: smtp, address: 'unix:/run/ecluse.sock' }
policies: [{ name: socket, when: { listeners: ['unix:/run/ecluse.sock'] }, policy: { killLevel: 1 } }]
`
    const first = await why('To: t@x.example\n\n', '', yaml)
    expect(first.envelope).toMatchObject({ protocol: 'lmtp', listener: '127.0.0.1:10024' })
    expect(first.recipients).toMatchObject([{ overlays: [], overlaysLeftOut: 1 }])
    const second = await why(
      'To: t@x.example\n\n',
      '--listener unix:/run/ecluse.sock --smtputf8 --helo h',
      yaml,
    )
    expect(second.envelope).toMatchObject({ protocol: 'smtp', smtpUtf8: true, helo: 'h' })
    expect(second.recipients[0]?.overlays).toMatchObject([
      { applies: true, conditions: [{ condition: 'listeners', place: `${folder}/e.yaml:7:48` }] },
    ])
  })
})

test.each([
  ['', 'a@example.org', '--config is missing'],
  ['--config e', '', 'explain: of which message?'],
  ['--config e m.eml', '--sender', 'explain: --sender needs a value'],
  ['--config e m.eml', '--client nowhere', 'explain: --client: expected an IP address, got "nowhere"'],
  ['--config e m.eml', '--rcpt <>', 'explain: --rcpt: expected an address, got "<>"'],
  ['--config e m.eml', '--rcpt a\u001bb@x', 'explain: --rcpt: expected an address, got "a\\u001bb@x"'],
  ['--config e m.eml', '--helo a\u001bb', 'explain: --helo: expected at most 255 characters'],
  ['--config e m.eml', '--scanners some', 'explain: --scanners: expected live or none, got "some"'],
  ['--config e m.eml', 'other.eml', '"other.eml" is one argument too many'],
  ['--config /nonexistent/e m.eml', '', '/nonexistent/e: no such file'],
])('refuses %j %j', async (args, more, what) => {
  const argv = [...args.split(' '), ...more.split(' ')].filter((word) => word !== '')
  const { code, out, lines } = await runExplain(...argv)
  expect({ code, out, lines: lines.length }).toEqual({ code: 2, out: '', lines: 1 })
  expect(lines[0]).toContain(what)
})

test.each([
  ['From: a@x.example\n\n', '', 'nothing says who the recipients are (name them: --rcpt user@example.org)'],
  [
    'To: a@x.example\n\n',
    '--listener 127.0.0.1:1',
    '"127.0.0.1:1" is no address of listen (there are: 127.0.0.1:10024)',
  ],
  ['', '', 'FOLDER/m.eml: no message in it (it is empty)'],
])('refuses the message %j with %j', async (message, args, what) => {
  const { code, out, lines } = await run(message, args)
  expect({ code, out }).toEqual({ code: 2, out: '' })
  expect(lines).toEqual([expect.stringContaining(what)])
})

test('refuses more recipients than the listener takes', async () => {
  const args = Array.from({ length: 101 }, (_, index) => `--rcpt u${index}@example.org`).join(' ')
  const yaml = `${CONFIG}limits: { recipients: 100 }\n`
  expect(await run('A: b\n\n', args, yaml)).toEqual({
    code: 2,
    out: '',
    lines: [
      'explain: 101 recipients, limits.recipients is 100 ' +
        '(the listener takes no more at once: name some of them with --rcpt)',
    ],
  })
  expect((await run('A: b\n\n', args, yaml.replace('100 }', '101 }'))).code).toBe(0)
})

test('refuses a configuration with the place of each error', async () => {
  expect(
    await run('To: a@x.example\n\n', '', 'localDomain: [x]\npolicy: { killLevel: high }\n'),
  ).toMatchObject({
    code: 2,
    lines: [
      expect.stringMatching(/^FOLDER\/e\.yaml:1:1: /),
      expect.stringMatching(/^FOLDER\/e\.yaml:1:1: /),
      expect.stringMatching(/^FOLDER\/e\.yaml:2:22: /),
    ],
  })
})

test('leaves no trace: neither spool nor quarantine, nor a temporary folder', async () => {
  const folders = ['spool', 'quarantine'].map((name) => join(folder, name))
  for (const name of folders) await mkdir(name)
  const left = async (): Promise<string[]> =>
    (await readdir(tmpdir())).filter((name) => name.startsWith('ecluse-explain-'))
  const before = await left()
  const yaml = `${CONFIG}spool: { directory: ${folders[0]}, memoryBytes: 64KiB }\nquarantine: { directory: ${folders[1]} }\n`
  const large = `To: a@example.org\n\nECLUSE-TEST-SCORE=20 .\n${'x\n'.repeat(100_000)}`
  const explanation = await why(large, '', yaml)
  expect(explanation.quarantine).toEqual({ kept: true, category: 'spam' })
  expect(await Promise.all(folders.map(async (name) => await readdir(name)))).toEqual([[], []])
  // Other tests may run at the same time.
  expect((await left()).filter((name) => !before.includes(name)).length).toBeLessThanOrEqual(1)
})

test('asks no scanner when it is told so', async () => {
  const explanation = await why('To: a@example.org\n\nECLUSE-TEST-SCORE=20 .\n', '--scanners none')
  expect(explanation.scanners).toMatchObject([
    { name: 'test', outcome: 'not asked', reason: '--scanners none' },
  ])
  expect(explanation.recipients).toMatchObject([{ category: 'clean', scanners: [] }])
  expect(explanation.notes).toEqual(['no scanner was asked: what they would find is not in this'])
})

test('says so where the deadline is over, and counts the scanner as failed', async () => {
  const silent = createServer()
  silent.listen(join(folder, 'silent'))
  await once(silent, 'listening')
  try {
    const yaml = `${CONFIG.replace(/scanners.*\n/, '')}limits: { deadline: 4s }
reinject: { connectTimeout: 1s, commandTimeout: 1s, dataTimeout: 1s, dotTimeout: 1s }
scanners: [{ kind: clamd, address: 'unix:${folder}/silent', timeout: 4s, onError: tempfail }]
`
    const { scanners, recipients, notes } = await why('To: a@example.org\n\n', '', yaml)
    expect(scanners).toMatchObject([{ outcome: 'failed', code: 'E_ABORTED' }])
    expect(recipients).toMatchObject([{ deferred: true, destiny: 'tempfail' }])
    expect(notes).toEqual([expect.stringContaining('limits.deadline was over')])
  } finally {
    silent.close()
  }
})

test('tells lines of list files, and of entries that take out', async () => {
  await writeFile(join(folder, 'list'), '# a comment\n\n.example.org\n!boss@\n')
  const yaml = `${CONFIG}policies:\n  - { name: all, when: { recipients: ['file:list'] }, policy: { killLevel: 1 } }\n`
  const { recipients } = await why(
    'To: x@y.example\n\n',
    '--rcpt a@sub.example.org --rcpt boss@example.org --all',
    yaml,
  )
  expect(recipients.map(({ overlays }) => overlays[0])).toMatchObject([
    { applies: true, conditions: [{ match: { key: '.example.org', place: `${folder}/list:3` } }] },
    {
      applies: false,
      conditions: [{ holds: false, match: { negated: true, key: 'boss@', place: `${folder}/list:4` } }],
    },
  ])
})

test('of thousands of policies it tells those of which something holds, and counts the rest', async () => {
  const overlays = Array.from(
    { length: 2000 },
    (_, index) =>
      `  - { name: p${index}, when: { recipients: [u${index}@example.org] }, policy: { killLevel: ${index} } }\n`,
  ).join('')
  const yaml = `${CONFIG}policies:\n${overlays}`
  const { recipients } = await why('To: u77@example.org\n\n', '', yaml)
  expect(recipients).toMatchObject([
    { overlays: [{ number: 77, changes: [{ key: 'killLevel', from: 15, to: 77 }] }], overlaysLeftOut: 1999 },
  ])
  const all = await why('To: u77@example.org\n\n', '--all', yaml)
  expect([all.recipients[0]?.overlays.length, all.recipients[0]?.overlaysLeftOut]).toEqual([2000, 0])
})

test('tells lists of senders that do not count for who bypasses spam', async () => {
  const yaml = `${CONFIG}policy: { bypass: [spam] }\nsenders: [{ action: block, senders: [x.example] }]\n`
  const { recipients } = await why('To: a@example.org\n\n', '--sender s@x.example', yaml)
  expect(recipients).toMatchObject([
    { category: 'clean', senders: { entries: [{ counts: false, why: 'policy.bypass has spam' }] } },
  ])
})

test.each([
  ['not wanted', 'quarantine: []', 20, 'policy.quarantine has not spam, spammy'],
  ['cut off', 'quarantineCutoffLevel: 18', 20, 'score 20, quarantineCutoffLevel 18'],
  ['kept', 'quarantineCutoffLevel: 21', 20, 'policy.quarantine has spam'],
  ['clean', '', 0, 'clean'],
  [
    'left in the queue',
    'destiny: { spam: tempfail }',
    20,
    'destiny tempfail: it stays in the queue of Postfix',
  ],
  [
    'neither wanted',
    'destiny: { spam: tempfail }, quarantine: []',
    20,
    'policy.quarantine has not spam, spammy',
  ],
])('says why there is a copy or none: %s', async (_name, policy, score, quarantineWhy) => {
  const yaml = `${CONFIG}policy: { ${policy} }\n`
  const { recipients } = await why(`To: a@example.org\n\nECLUSE-TEST-SCORE=${score} .\n`, '', yaml)
  expect(recipients).toMatchObject([{ quarantineWhy }])
})

test('says that there is no copy of what comes again over SMTP', async () => {
  const overlay =
    'policies: [{ name: b, when: { recipients: [b@example.org] }, policy: { destiny: { spam: tempfail } } }]'
  const yaml =
    `${CONFIG}listen: [{ protocol: smtp, address: "127.0.0.1:0" }]\n` +
    `policy: { destiny: { spam: reject } }\n${overlay}\n`
  const spam = 'To: a@example.org\n\nECLUSE-TEST-SCORE=20 .\n'
  const { recipients } = await why(spam, '--rcpt a@example.org --rcpt b@example.org', yaml)
  const quarantineWhy = 'the one reply of SMTP is 4xx: Postfix comes again for all recipients'
  const waits = 'destiny tempfail: it stays in the queue of Postfix'
  expect(recipients).toMatchObject([{ quarantineWhy }, { quarantineWhy: waits }])
})

test('says why a sender gets no DSN', async () => {
  const overlay =
    'policies: [{ name: b, when: { originating: true }, policy: { quarantine: [], destiny: { spam: bounce } } }]'
  const spam = 'From: x@example.net\nTo: a@example.org\n\nECLUSE-TEST-SCORE=20 .\n'
  const { recipients } = await why(
    spam,
    '--sender x@example.net --rcpt a@example.org',
    `${CONFIG}${overlay}\n`,
  )
  expect(recipients).toMatchObject([
    {
      destiny: 'discard',
      suppressed: 'sender not ours',
      quarantined: true,
      quarantineWhy: 'in place of a bounce: sender not ours',
    },
  ])
})

describe('a hostile message', () => {
  const ESCAPES = '\x1b]0;owned\x07\x1b[2J\xc2\x9b31m\xe2\x80\xae'
  const MESSAGE =
    `Return-Path: <"${'a'.repeat(900)}\u00e2\u0080\u00ae"@x.example>\nX-Spam-${'Y'.repeat(500)}: ${ESCAPES}\n` +
    `${'X-Spam-Report: \x1b[31m\n\tmore\x1b[0m\n'.repeat(10_000)}Subject: =?utf-8?b?G10wO293bmVkBw==?= ${ESCAPES}\n` +
    `From: ${ESCAPES} <a@x.example>\nX-Spam-Long: ${'z'.repeat(200_000)}\n\nECLUSE-TEST-SCORE=9 .\n`

  test.each([[''], ['--json']])('moves no cursor and fills no screen: %j', async (option) => {
    const { code, out } = await run(MESSAGE, `--rcpt a@example.org ${option}`)
    expect(code).toBe(0)
    expect(out.replace(/[\n\t]/g, '').match(INVISIBLE)).toBeNull()
    expect(out.length).toBeLessThan(60_000)
    expect(out).toContain('***SPAM***')
  })

  test('is the same in JSON as it came', async () => {
    const { message, transactions } = await why(MESSAGE, '--rcpt a@example.org')
    expect(message.subject).toContain('\u001b]0;owned\u0007')
    expect(transactions[0]?.changesLeftOut).toBeGreaterThan(9000)
  })
})
