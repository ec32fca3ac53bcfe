import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  GTUBE,
  describeWith,
  freePort,
  mailDate,
  runEcluse,
  startClamd,
  startEcluse,
  startMailSystem,
  startRspamd,
  startSpamd,
  submit,
  type EcluseResult,
  type MailSystem,
} from '@ecluse/fixtures'

interface Told {
  readonly message: { readonly id: string; readonly form: string }
  readonly envelope: Readonly<Record<string, unknown>>
  readonly scanners: readonly { readonly name: string; readonly outcome: string }[]
  readonly recipients: readonly Readonly<Record<string, unknown>>[]
  readonly transactions: readonly {
    readonly recipients: readonly { readonly target: string }[]
    readonly changes: readonly { readonly op: string; readonly field: string }[]
  }[]
}

const closers: (() => Promise<void>)[] = []
let directory = ''

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-t17-'))
})

afterAll(async () => {
  for (const close of closers.splice(0).reverse()) await close()
  await rm(directory, { recursive: true, force: true })
})

async function explain(config: string, ...args: readonly string[]): Promise<EcluseResult> {
  return await runEcluse(['explain', '--config', config, ...args])
}

async function told(config: string, ...args: readonly string[]): Promise<Told> {
  const { code, stdout, stderr } = await explain(config, ...args, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(Buffer.from(stdout, 'latin1').toString('utf8')) as Told
}

/** A message in a file, with the line ends of Unix. */
async function file(name: string, body: string): Promise<string> {
  const path = join(directory, name)
  const header = `Date: ${mailDate()}\nFrom: Ann <a@example.net>\nTo: b@example.org\nSubject: ${name}\nMessage-ID: <1@example.net>\n`
  await writeFile(path, `${header}\n${body}\n`)
  return path
}

describeWith(
  { describe, beforeAll },
  'clamd',
  'spamd',
  'rspamd',
)('explain with the real scanners', () => {
  let config = ''

  beforeAll(async () => {
    const [clamd, spamd, rspamd] = await Promise.all([startClamd(), startSpamd(), startRspamd()])
    closers.push(clamd.close, spamd.close, rspamd.close)
    config = join(directory, 'real.yaml')
    await writeFile(
      config,
      [
        'localDomains: [example.org]',
        'scanners:',
        `  - { kind: clamd, address: '127.0.0.1:${clamd.port}' }`,
        `  - { kind: spamd, address: '127.0.0.1:${spamd.port}' }`,
        `  - { kind: rspamd, url: 'http://127.0.0.1:${rspamd.port}' }`,
        'policies: [{ name: clamd, when: { recipients: [c@example.org] }, policy: { bypass: [spam] } }]',
      ].join('\n'),
    )
  }, 60_000)

  test('tells what they found, and who is not asked', async () => {
    const options = ['--sender', 'a@example.net', '--client', '192.0.2.1']
    const virus = await told(config, await file('virus.eml', EICAR), ...options, '--rcpt', 'b@example.org')
    expect(virus.scanners.map(({ name, outcome }) => [name, outcome])).toEqual([
      ['clamd', 'done'],
      ['spamd', 'done'],
      ['rspamd', 'done'],
    ])
    expect(virus.recipients).toMatchObject([
      {
        category: 'virus',
        destiny: 'discard',
        quarantined: true,
        reply: expect.stringContaining(`250 2.7.0 Ok, discarded, id=${virus.message.id} - INFECTED: `),
      },
    ])
    const spam = await told(config, await file('spam.eml', GTUBE), ...options, '--rcpt', 'b@example.org')
    expect(spam.recipients).toMatchObject([{ category: 'spam', quarantined: true }])
    const bypass = await told(config, await file('spam.eml', GTUBE), ...options, '--rcpt', 'c@example.org')
    expect(bypass.scanners.map(({ outcome }) => outcome)).toEqual(['done', 'not asked', 'not asked'])
    expect(bypass.recipients).toMatchObject([{ category: 'clean', scanners: ['clamd'] }])
  })

  test('tells people, with the place of the policy', async () => {
    const { code, stdout, stderr } = await explain(
      config,
      await file('ham.eml', 'Lunch?'),
      '--client',
      '192.0.2.1',
      '--rcpt',
      'c@example.org',
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(`policies[0] "clamd" (${config}:6:12) applies`)
    expect(stdout).toMatch(/^ {2}spamd +not asked: no recipient's policy wants it$/m)
    expect(stdout).toMatch(/^ {2}\+X-Virus-Status: Clean$/m)
  })
})

test('a scanner that does not answer is shown as it counts, and no failure', async () => {
  const config = join(directory, 'none.yaml')
  await writeFile(
    config,
    `localDomains: [example.org]\nscanners: [{ kind: clamd, address: '127.0.0.1:${await freePort()}' }]\n`,
  )
  const { recipients, scanners } = await told(config, await file('ham.eml', 'Lunch?'))
  expect(scanners).toMatchObject([{ outcome: 'failed', code: 'E_SCANNER_CONNECT', onError: 'tempfail' }])
  expect(recipients).toMatchObject([{ destiny: 'tempfail', reply: expect.stringMatching(/^451 4\.7\.1 /) }])
})

test('a file of the quarantine says its envelope itself', async () => {
  const ecluse = await startEcluse({
    yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]',
    reinjectPort: await freePort(),
  })
  closers.push(ecluse.close)
  const { final } = await submit({
    port: ecluse.lmtpPort,
    protocol: 'lmtp',
    before: ['XFORWARD ADDR=192.0.2.1 HELO=mx'],
    mailFrom: 'a@example.net',
    recipients: ['b@example.org', 'c@example.com'],
    data: `Subject: kept\r\n\r\n${EICAR}\r\n`,
  })
  const quarantine = join(ecluse.directory, 'quarantine')
  const names = await readdir(quarantine, { recursive: true })
  const kept = join(quarantine, names.find((name) => name.endsWith('.eml')) ?? '')
  const explanation = await told(ecluse.configFile, kept)
  expect(explanation).toMatchObject({
    message: { form: 'quarantine', id: expect.stringMatching(/^[\w-]{12}$/) },
    envelope: {
      mailFrom: 'a@example.net',
      mailFromSource: 'quarantine file',
      client: '192.0.2.1',
      helo: 'mx',
    },
  })
  expect(explanation.recipients.map(({ reply }) => reply)).toEqual(final)
})

describeWith({ describe, beforeAll }, 'postfix')('explain beside a running filter', () => {
  let system: MailSystem

  beforeAll(async () => {
    system = await startMailSystem({
      yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]\npolicies: [{ name: s, when: { senders: [a@example.net] }, policy: { addressExtension: { spam: junk } } }]',
    })
    closers.push(system.close)
  }, 60_000)

  test('says the header that is delivered', async () => {
    const path = await file('spammy.eml', 'ECLUSE-TEST-SCORE=8 .')
    const data = (await readFile(path, 'latin1')).replace(/\n/g, '\r\n')
    const { delivered } = await system.pass(
      { mailFrom: 'a@example.net', recipients: ['b@example.org'], data },
      1,
    )
    const explanation = await told(
      system.ecluse().configFile,
      path,
      '--sender',
      'a@example.net',
      '--rcpt',
      'b@example.org',
    )
    const [copy] = explanation.transactions
    expect(delivered[0]?.recipients.map(({ address }) => address)).toEqual(['b+junk@example.org'])
    expect(copy?.recipients.map(({ target }) => target)).toEqual(['b+junk@example.org'])
    const fields = delivered[0]?.data.toString('latin1').split(/\r\n(?![ \t])/) ?? []
    const added = copy?.changes.flatMap(({ op, field }) => (op === '+' ? [field] : [])) ?? []
    expect(added.length).toBeGreaterThan(6)
    for (const field of added.filter((of) => !of.startsWith('Received:'))) expect(fields).toContain(field)
  })
})
