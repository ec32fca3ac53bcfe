import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  describeWith,
  freePort,
  mailDate,
  runEcluse,
  startClamd,
  startMailSystem,
  type ClamdService,
  type EcluseLogLine,
  type MailSystem,
} from '@ecluse/fixtures'

const ADMIN = 'postmaster@example.org'

/** A body with what a filter likes to change: dots, 8-bit, a long line, blanks at the end. */
const bodyWith = (text: string): string => `..dots\r\n.\xfcber \r\n${text}\r\n${'x'.repeat(900)}\r\n\r\n`

interface KeptMail {
  readonly id: string
  readonly body: string
}

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
)('unchecked mail is looked at again by itself', () => {
  let system: MailSystem
  let clamd: ClamdService
  let port = 0

  beforeAll(async () => {
    port = await freePort()
    clamd = await startClamd({ port })
    system = await startMailSystem({
      yaml: `localDomains: [example.org]
scanners:
  - { name: clamav, kind: clamd, address: '127.0.0.1:${port}', onError: unchecked }
policy: { quarantine: [virus, banned, spam, unchecked], destiny: { unchecked: discard } }
cache: { versionInterval: 1s }
notices: { admin: ${ADMIN} }`,
      quarantine: 'rescan: unchecked',
    })
  }, 120_000)

  afterAll(async () => {
    await system?.close()
    await clamd?.close()
  })

  /** Sends a message that is discarded and kept as unchecked. */
  async function keep(subject: string, text: string): Promise<KeptMail> {
    const body = bodyWith(text)
    const head = `Date: ${mailDate()}\r\nFrom: marie@example.net\r\nTo: paul@example.org\r\nSubject: ${subject}\r\n`
    const mail = {
      mailFrom: 'marie@example.net',
      parameters: 'BODY=8BITMIME',
      recipients: ['paul@example.org'],
      data: `${head}Message-ID: <${subject}@example.net>\r\n\r\n${body}`,
    }
    const { line } = await system.pass(mail, 0)
    expect(line).toMatchObject({ category: 'unchecked', recipients: [{ destiny: 'discard' }] })
    return { id: line.quarantineId ?? '', body }
  }

  async function listed(): Promise<Record<string, readonly string[]>> {
    const { stdout } = await runEcluse([
      'quarantine',
      'list',
      '--json',
      '--config',
      system.ecluse().configFile,
    ])
    const items = JSON.parse(stdout) as { readonly id: string; readonly states: readonly string[] }[]
    return Object.fromEntries(items.map(({ id, states }) => [id, states]))
  }

  const logged = (msg: string): EcluseLogLine[] =>
    system
      .ecluse()
      .log()
      .filter((line) => line.msg === msg)

  test('what nobody could look at arrives when clamd is there again, but for a virus', async () => {
    await clamd.close()
    const harmless = await keep('harmless', 'nothing in it')
    const infected = await keep('infected', EICAR)
    expect(await listed()).toEqual({ [harmless.id]: ['kept'], [infected.id]: ['kept'] })
    clamd = await startClamd({ port })
    // The mail, and a notice about the virus.
    await system.sink.waitFor(2)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    const [mail] = system.sink.messages.filter(({ mailFrom }) => mailFrom === 'marie@example.net')
    const [notice] = system.sink.messages.filter(({ mailFrom }) => mailFrom === '')
    expect(mail?.recipients.map(({ address }) => address)).toEqual(['paul@example.org'])
    expect(mail?.data.toString('latin1')).toContain(`\r\n\r\n${harmless.body}`)
    expect(mail?.data.toString('latin1').endsWith(harmless.body)).toBe(true)
    expect(notice?.recipients.map(({ address }) => address)).toEqual([ADMIN])
    expect(notice?.data.toString()).toContain(infected.id)
    expect(await listed()).toEqual({ [harmless.id]: ['released'], [infected.id]: ['kept'] })
    const { stdout } = await runEcluse([
      'quarantine',
      'show',
      harmless.id,
      '--config',
      system.ecluse().configFile,
    ])
    expect(stdout).toMatch(/^Released:\n {2}\S+ by rescan to <paul@example\.org> \(plain\)$/m)
  }, 180_000)

  test('what its signatures would not judge arrives when they are reloaded', async () => {
    const before = system.sink.messages.length
    await clamd.addSignature('Heuristics.Encrypted.Once', 'a riddle for now')
    await clamd.addSignature('Heuristics.Encrypted.Ever', 'a riddle for ever')
    const once = await keep('once', 'a riddle for now')
    const ever = await keep('ever', 'a riddle for ever')
    expect(system.sink.messages).toHaveLength(before)
    const file = join(clamd.directory, 'database/test.ndb')
    const signatures = (await readFile(file, 'latin1')).split('\n')
    await writeFile(
      file,
      signatures.filter((line) => !line.startsWith('Heuristics.Encrypted.Once')).join('\n'),
    )
    // The first may be seen before it is loaded, and clamd tells nothing of so small a change; the next cannot.
    await clamd.addSignature('Other.Virus', 'something else')
    await clamd.addSignature('Another.Virus', 'something else again')
    await system.sink.waitFor(before + 1)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    expect(system.sink.messages.slice(before).map(({ data }) => data.toString('latin1'))).toEqual([
      expect.stringContaining(`\r\n\r\n${once.body}`),
    ])
    expect(await listed()).toMatchObject({ [once.id]: ['released'], [ever.id]: ['kept'] })
    expect(logged('quarantine: virus in unchecked mail')).toHaveLength(1)
  }, 120_000)
})
