import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  describeWith,
  mailDate,
  runEcluse,
  startClamd,
  startMailSystem,
  type ClamdService,
  type EcluseResult,
  type MailSystem,
  type SinkMessage,
} from '@ecluse/fixtures'

const ADMIN = 'postmaster@example.org'
/** Below and above the level from which spam is kept. */
const SPAM = 'ECLUSE-TEST-SCORE=6.4 .'
const BIG_SPAM = 'ECLUSE-TEST-SCORE=30 .'

interface Listed {
  readonly id: string
  readonly category: string
  readonly recipients: readonly string[]
  readonly subject: string
  readonly score?: number
  readonly states: readonly string[]
}

/** A body with what a filter likes to change: dots, 8-bit, a long line, blanks and empty lines at the end. */
const bodyWith = (text: string): string =>
  `..dots\r\n.\xfcber \r\n${text}\r\n${'x'.repeat(900)}\r\n\t \r\n\r\n`

const latin1 = ({ data }: SinkMessage): string => data.toString('latin1')
const addresses = ({ recipients }: SinkMessage): string[] => recipients.map(({ address }) => address)
const bodyOf = (message: string): string => message.slice(message.indexOf('\r\n\r\n') + 4)

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
)('a message in quarantine, from Postfix and back to it', () => {
  let system: MailSystem
  let clamd: ClamdService

  beforeAll(async () => {
    clamd = await startClamd()
    system = await startMailSystem({
      yaml: `localDomains: [example.org]
scanners:
  - { name: clamav, kind: clamd, address: '127.0.0.1:${clamd.port}' }
  - { kind: test }
notices: { admin: ${ADMIN} }`,
    })
  }, 120_000)

  afterAll(async () => {
    await system?.close()
    await clamd?.close()
  })

  const quarantine = async (...args: string[]): Promise<EcluseResult> =>
    await runEcluse(['quarantine', ...args, '--config', system.ecluse().configFile])
  const list = async (...filter: string[]): Promise<readonly Listed[]> =>
    JSON.parse((await quarantine('list', '--json', ...filter)).stdout) as Listed[]
  const one = async (id: string): Promise<Listed | undefined> => (await list()).find((each) => each.id === id)

  /** A message to two recipients; gives what came of it. */
  async function send(subject: string, text: string, copies: number) {
    const body = bodyWith(text)
    const head = [
      `Date: ${mailDate()}`,
      'From: Marie Duval <marie@example.net>',
      'To: paul@example.org',
      `Subject: ${subject}`,
      `Message-ID: <${subject.replaceAll(' ', '.')}@example.net>`,
    ]
    const data = `${head.join('\r\n')}\r\n\r\n${body}`
    // In the order in which Postfix gives them to a filter.
    const recipients = ['anna@example.org', 'paul@example.org']
    const mail = { mailFrom: 'marie@example.net', parameters: 'BODY=8BITMIME', recipients, data }
    const { line, delivered } = await system.pass(mail, copies)
    return { line, delivered, id: line.quarantineId ?? '', body, data }
  }

  /** What comes to the mailboxes because of a command; all of it, for nothing is queued any more. */
  async function after(copies: number, command: () => Promise<EcluseResult>) {
    const before = system.sink.messages.length
    const result = await command()
    await system.sink.waitFor(before + copies)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    return { result, delivered: system.sink.messages.slice(before) }
  }

  test('spam is marked and delivered, big spam kept', async () => {
    const marked = await send('marked spam', SPAM, 1)
    expect(marked.line).toMatchObject({ category: 'spammy', recipients: [{ destiny: 'pass' }, {}] })
    expect(marked.line.quarantineId).toBeUndefined()
    expect(latin1(marked.delivered[0] as SinkMessage)).toMatch(/^X-Spam-Flag: YES\r$/m)
    const { id } = await send('big spam', BIG_SPAM, 0)
    expect(await one(id)).toMatchObject({ category: 'spam', score: 30, states: ['kept', 'kept'] })
  })

  test('a virus is kept, told, listed and shown, and released only by force, once, with its very body', async () => {
    const { id, body, data, delivered: told } = await send('a virus', EICAR, 1)
    expect(told).toMatchObject([{ mailFrom: '', recipients: [{ address: ADMIN }] }])
    expect(latin1(told[0] as SinkMessage)).toContain(id)
    expect(await one(id)).toEqual({
      id,
      category: 'virus',
      storedAt: expect.any(String),
      mailFrom: 'marie@example.net',
      recipients: ['anna@example.org', 'paul@example.org'],
      subject: 'a virus',
      size: expect.any(Number),
      reasons: [expect.stringMatching(/^INFECTED: .*Eicar/)],
      states: ['kept', 'kept'],
    })
    const shown = await quarantine('show', id)
    expect(shown.stdout).toMatch(/^Category: {2}virus\n/m)
    expect(shown.stdout).toContain('<anna@example.org>: discard, virus, INFECTED: ')
    const raw = await quarantine('show', id, '--raw')
    expect(raw.stdout.endsWith(data)).toBe(true)

    const refused = await quarantine('release', id)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^ecluse: \S+: INFECTED: [^\n]+ \(use --force [^\n]+\)\n$/)

    const { result, delivered } = await after(1, async () => await quarantine('release', id, '--force'))
    expect(result).toMatchObject({ code: 0, stderr: '' })
    expect(delivered.map(addresses)).toEqual([['anna@example.org', 'paul@example.org']])
    expect(delivered[0]?.mailFrom).toBe('marie@example.net')
    expect(bodyOf(latin1(delivered[0] as SinkMessage))).toBe(body)
    // It went past the scanners: one file as before, and released.
    expect((await list()).filter(({ subject }) => subject === 'a virus')).toMatchObject([
      { id, states: ['released', 'released'] },
    ])
    expect((await quarantine('show', id)).stdout).toMatch(
      /^Released:\n {2}\S+ by \S+ to <anna@example\.org>, <paul@example\.org> \(plain\)$/m,
    )
    const folder = join(system.ecluse().directory, 'quarantine')
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.includes('virus-'))
    expect(files).toHaveLength(1)
  })

  test('a second release says when, by whom and to whom the first one went', async () => {
    const { id } = await send('twice', BIG_SPAM, 0)
    const first = await after(1, async () => await quarantine('release', id, '--to', 'paul@example.org'))
    expect(first.delivered.map(addresses)).toEqual([['paul@example.org']])
    expect(await one(id)).toMatchObject({ states: ['kept', 'released'] })
    const again = await quarantine('release', id, '--to', 'paul@example.org')
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toMatch(
      /: was released at \d{4}-\S+Z by \S+ to <paul@example\.org> \(use --force [^\n]+\)\n$/,
    )
    // Without --to it is for those who still wait.
    const rest = await after(1, async () => await quarantine('release', id))
    expect(rest.delivered.map(addresses)).toEqual([['anna@example.org']])
    expect(await quarantine('release', id)).toMatchObject({ code: 1, stdout: '' })
    const forced = await after(1, async () => await quarantine('release', id, '--force'))
    expect(forced.delivered.map(addresses)).toEqual([['anna@example.org', 'paul@example.org']])
  })

  test.each([
    ['plain', (message: string, raw: string): void => expect(message.endsWith(raw)).toBe(true)],
    [
      'resend',
      (message: string, raw: string): void => {
        expect(message.endsWith(raw)).toBe(true)
        expect(message).toMatch(/^Resent-From: <postmaster@[^\r]+>\r$/m)
        expect(message).toMatch(/^Resent-To: anna@example\.org,\r\n paul@example\.org\r$/m)
      },
    ],
  ])('--as %s hands over the very bytes that came', async (form, holds) => {
    const { id } = await send(`as ${form}`, BIG_SPAM, 0)
    const raw = (await quarantine('show', id, '--raw')).stdout
    const { delivered } = await after(1, async () => await quarantine('release', id, '--as', form))
    expect(delivered[0]?.mailFrom).toBe('marie@example.net')
    holds(latin1(delivered[0] as SinkMessage), raw)
    expect((await quarantine('show', id)).stdout).toContain(`(${form})`)
  })

  test('--as attachment hands over the very bytes inside a note of ours', async () => {
    const { id } = await send('as attachment', BIG_SPAM, 0)
    const raw = (await quarantine('show', id, '--raw')).stdout
    const { delivered } = await after(1, async () => await quarantine('release', id, '--as', 'attachment'))
    const [copy] = delivered
    expect(copy?.mailFrom).toMatch(/^postmaster@/)
    expect(addresses(copy as SinkMessage)).toEqual(['anna@example.org', 'paul@example.org'])
    const text = latin1(copy as SinkMessage)
    expect(text).toMatch(new RegExp(`^Subject: .*${id}`, 'm'))
    const [, boundary = ''] = /^Content-Type: multipart\/mixed; boundary="([^"]+)"\r$/m.exec(text) ?? []
    const [, , attached = '', end] = text.split(`\r\n--${boundary}`)
    expect(end).toBe('--\r\n')
    expect(attached).toContain('\r\nContent-Type: message/rfc822\r\n')
    expect(bodyOf(attached)).toBe(raw)
  })

  test('to somebody else it goes as a resend', async () => {
    const { id } = await send('to another', BIG_SPAM, 0)
    const { delivered } = await after(
      1,
      async () => await quarantine('release', id, '--to', 'abuse@example.org'),
    )
    expect(delivered.map(addresses)).toEqual([['abuse@example.org']])
    expect(latin1(delivered[0] as SinkMessage)).toMatch(/^Resent-To: abuse@example\.org\r$/m)
    expect(await one(id)).toMatchObject({ states: ['kept', 'kept'] })
  })

  test('rescan tells what would pass today; with --release those get it, and no others', async () => {
    const signature = 'a false alarm of yesterday'
    await clamd.addSignature('False.Alarm', signature)
    const { id, body } = await send('false alarm', signature, 1)
    const still = await send('true alarm', EICAR, 1)
    expect((await quarantine('rescan', '--category', 'virus')).stdout).not.toContain(id)
    // What the administrator does about a false alarm.
    await clamd.ignoreSignature('False.Alarm')
    const before = system.sink.messages.length
    const told = await quarantine('rescan', '--category', 'virus')
    expect(told.stdout).toMatch(new RegExp(`^${id}  virus .*<anna@example\\.org> \\(clean`, 'm'))
    expect(told.stdout).not.toContain(still.id)
    expect(system.sink.messages).toHaveLength(before)
    const { result, delivered } = await after(
      1,
      async () => await quarantine('rescan', '--release', '--category', 'virus'),
    )
    expect(result.code).toBe(0)
    expect(delivered.map(addresses)).toEqual([['anna@example.org', 'paul@example.org']])
    expect(bodyOf(latin1(delivered[0] as SinkMessage))).toBe(body)
    expect(await one(id)).toMatchObject({ states: ['released', 'released'] })
    expect(await one(still.id)).toMatchObject({ states: ['kept', 'kept'] })
  })

  test('in the end nothing was bounced, and Postfix has nothing left', async () => {
    expect(system.postfix.log()).not.toMatch(/status=bounced|non-delivery notification/)
    expect(system.ecluse().errors()).not.toMatch(/"level":"error"/)
  })
})
