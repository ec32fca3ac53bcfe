import { once } from 'node:events'
import { chmod, readdir, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import { ANNA, ID, keep, MAIL, SECRET, startKit, URL_BASE, type Kit } from '../test/kit.ts'
import { openConsole } from './console.ts'
import { releaseLink } from './releaseLink.ts'

let kit: Kit

beforeEach(async () => {
  kit = await startKit()
})
afterEach(async () => {
  await kit.close()
})

function linkOf(recipient = ANNA, id = ID): string {
  const link = releaseLink({ url: URL_BASE, secret: SECRET }, { id, recipient })
  if (link === undefined) throw new Error('no link')
  return link.slice('https://mail.example.org'.length)
}

const post = { method: 'POST', body: '' }

test('shows a message, escaped, with one button, and releases nothing', async () => {
  await keep(kit.store, { mailFrom: '"<script>"@example.net' })
  const { status, headers, body } = await kit.ask(linkOf())
  expect(status).toBe(200)
  expect(body).toContain('<dd>Win &lt;b&gt;&amp;amp; [31m</dd>')
  expect(body).toContain('<dd>&lt;&quot;&lt;script&gt;&quot;@example.net&gt;</dd>')
  expect(body).toContain('<dd>2026-11-24 08:00:00 UTC</dd><dt>Why</dt><dd>spam</dd>')
  expect(body).toContain('<form method="post"><button type="submit">')
  expect(body).not.toMatch(/bob|<script|href|src=/)
  expect(body).not.toContain('\u001b')
  expect(headers).toMatchObject({
    'content-security-policy': expect.stringMatching(
      /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$/,
    ),
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  expect(kit.gate.requests).toEqual([])
  expect((await kit.store.get(ID)).releases).toEqual([])
})

test('releases to that recipient alone, as a resend, and records by whom', async () => {
  await keep(kit.store)
  const { status, body } = await kit.ask(linkOf(), post)
  expect([status, body]).toEqual([200, expect.stringContaining('<h1>Released</h1>')])
  expect(kit.gate.requests).toEqual([{ to: [ANNA], bytes: expect.stringMatching(/^Resent-From: /) }])
  expect(kit.gate.requests[0]?.bytes.endsWith(MAIL)).toBe(true)
  expect((await kit.store.get(ID)).releases).toMatchObject([
    { by: 'link anna@example.org', to: [ANNA], as: 'resend' },
  ])
  expect(kit.log).toMatchObject([
    { level: 'info', message: 'console: released', fields: { quarantineId: ID, recipient: ANNA } },
  ])
})

test('says the second time that it was released; another recipient may still have it', async () => {
  await keep(kit.store)
  await kit.ask(linkOf(), post)
  expect((await kit.ask(linkOf(), post)).body).toContain('<h1>Released already</h1>')
  expect((await kit.ask(linkOf())).body).not.toContain('<form')
  expect((await kit.ask(linkOf('bob@example.org'), post)).status).toBe(200)
  expect(kit.gate.requests.map(({ to }) => to)).toEqual([[ANNA], ['bob@example.org']])
})

test('releases once, however many clicks come at the same time', async () => {
  await keep(kit.store)
  const ready = kit.gate.hold()
  const clicks = [1, 2, 3].map(async () => await kit.ask(linkOf(), post))
  const others = kit.ask(linkOf('bob@example.org'), post)
  ready()
  const bodies = (await Promise.all(clicks)).map(({ body }) => /<h1>(.*)<\/h1>/.exec(body)?.[1])
  const count = (title: string): number => bodies.filter((body) => body === title).length
  expect([count('Released'), count('Released already')]).toEqual([1, 2])
  expect((await others).status).toBe(200)
  expect(kit.gate.requests).toHaveLength(2)
})

test('sends to an administrator whoever wants a virus, and what has not been kept from him', async () => {
  await keep(kit.store, { viruses: ['Eicar'] })
  await keep(kit.store, { id: 'Abc-123_xyZ0', recipients: ['anna@example.com'] })
  for (const link of [linkOf(), linkOf('anna@example.com', 'Abc-123_xyZ0'), linkOf('new@example.org')]) {
    for (const options of [{}, post]) {
      const { status, body } = await kit.ask(link, options)
      expect([status, body]).toEqual([
        403,
        expect.stringContaining('Ask postmaster@example.org, and tell the id'),
      ])
      expect(body).not.toMatch(/<form|Eicar/)
    }
  }
  expect(kit.gate.requests).toEqual([])
})

test.each(['fail', 'refuse'] as const)(
  'says later where Postfix does not take it (%s), and records nothing',
  async (answer) => {
    await keep(kit.store)
    kit.gate.answer = answer
    const { status, body } = await kit.ask(linkOf(), post)
    expect([status, body]).toEqual([503, expect.stringContaining('<h1>Not now</h1>')])
    expect((await kit.store.get(ID)).releases).toEqual([])
    kit.gate.answer = 'take'
    expect((await kit.ask(linkOf(), post)).status).toBe(200)
  },
)

test('answers everything that is wrong with the same page, and one line of the log', async () => {
  await keep(kit.store)
  const wrong: [string, string?][] = [
    ['/'],
    ['/favicon.ico'],
    [linkOf().slice(0, -1)],
    [`${linkOf()}x`],
    [linkOf().replace('anna', 'bob')],
    [linkOf(ANNA, 'Abc-123_gone')],
    [linkOf().replace(ID, 'A'.repeat(10_000))],
    [linkOf().replace(ID, '..%2f..%2fx')],
    [linkOf().replace(ID, '../../x')],
    [linkOf().replace(ID, `${ID}%00`)],
    [linkOf(), 'DELETE'],
    [linkOf(), 'PUT'],
  ]
  const answers = []
  for (const [target, method = 'GET'] of wrong) answers.push(await kit.ask(target, { method }))
  expect(new Set(kit.log.map(({ fields }) => fields['why']))).toEqual(
    new Set(['no link of ours', 'Abc-123_gone: is not in quarantine', 'method']),
  )
  expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1)
  expect(answers[0]).toMatchObject({ status: 404, body: expect.stringContaining('No such message') })
  expect(kit.log).toHaveLength(wrong.length)
  for (const { level, message, fields } of kit.log) {
    expect([level, message]).toEqual(['warn', 'console: request refused'])
    expect(JSON.stringify(fields).length).toBeLessThan(300)
    expect(JSON.stringify(fields)).not.toMatch(/key=|anna/)
  }
})

test('a message that has expired is one that never was', async () => {
  await keep(kit.store)
  await kit.store.delete(ID)
  const { status, body } = await kit.ask(linkOf(), post)
  expect([status, body]).toEqual([404, (await kit.ask('/')).body])
})

test('does not log without end, and a link that is right works all the same', async () => {
  await keep(kit.store)
  const statuses = []
  for (let count = 0; count < 35; count++) statuses.push((await kit.ask('/x')).status)
  expect(statuses.filter((status) => status === 404)).toHaveLength(30)
  expect(statuses.at(-1)).toBe(429)
  expect(kit.log).toHaveLength(30)
  expect((await kit.ask(linkOf())).status).toBe(200)
})

test('takes a small body, and no large one', async () => {
  await keep(kit.store)
  expect((await kit.ask(linkOf(), { method: 'POST', body: 'x'.repeat(4097) })).status).toBe(404)
  expect(kit.gate.requests).toEqual([])
  expect((await kit.ask(linkOf(), { method: 'POST', body: 'x'.repeat(4096) })).status).toBe(200)
})

/** What comes back for bytes that no client library would send. */
async function raw(bytes: string): Promise<string> {
  const { address } = kit.console
  if ('path' in address) throw new Error('expected a port')
  const socket = connect(address)
  socket.write(bytes, 'latin1')
  return await text(socket)
}

test.each([
  ['a NUL in the path', `GET /release/${ID}\0 HTTP/1.1\r\nHost: x\r\n\r\n`],
  ['a header of 20 kB', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
  ['no HTTP', 'EHLO evil\r\n\r\n'],
])('refuses %s, and goes on', async (_, bytes) => {
  expect(await raw(bytes)).toMatch(/^HTTP\/1\.1 4\d\d /)
  expect((await kit.ask('/')).status).toBe(404)
})

test('tells of a quarantine that fails, and not that there is no such message', async () => {
  await kit.close()
  const failing = async (): Promise<never> => {
    throw new FilterError('E_QUARANTINE', 'the database does not answer')
  }
  kit = await startKit({ store: { get: failing, open: failing, markReleased: failing } })
  expect((await kit.ask(linkOf())).status).toBe(503)
  expect(kit.log).toMatchObject([{ level: 'error', message: 'console: quarantine fails' }])
})

test('tells of a message that is damaged, and not that there is none', async () => {
  await keep(kit.store)
  const [file = ''] = await readdir(kit.directory, { recursive: true }).then((names) =>
    names.filter((name) => name.endsWith('.eml')),
  )
  await truncate(join(kit.directory, file), 300)
  expect((await kit.ask(linkOf(), post)).status).toBe(503)
  expect(kit.log).toMatchObject([{ level: 'error', message: 'console: quarantine fails' }])
})

test('speaks French', async () => {
  await kit.close()
  kit = await startKit({ language: 'fr' })
  await keep(kit.store)
  const { body } = await kit.ask(linkOf())
  expect(body).toContain('<html lang="fr">')
  expect(body).toContain('<h1>Un message est conservé pour vous</h1>')
  expect(body).toContain('<dt>Raison</dt><dd>pourriel</dd>')
})

test('lets what runs come to its end when it closes', async () => {
  await keep(kit.store)
  const ready = kit.gate.hold()
  const click = kit.ask(linkOf(), post)
  const began = async (): Promise<void> => {
    while (kit.gate.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await began()
  const closing = kit.console.close()
  ready()
  expect((await click).status).toBe(200)
  await closing
  await expect(kit.ask('/')).rejects.toThrow('ECONNREFUSED')
})

test('does not wait for a request that never comes to its end', async () => {
  await kit.close()
  kit = await startKit({ leaveMs: 1 })
  const { address } = kit.console
  if ('path' in address) throw new Error('expected a port')
  const socket = connect(address)
  socket.write(`POST ${linkOf()} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n`)
  // It has been seen, and its body is waited for.
  await once(socket, 'data')
  const ended = once(socket, 'close')
  await kit.console.close()
  await ended
  expect(socket.destroyed).toBe(true)
})

test('gives up a delivery that takes too long at the end', async () => {
  await kit.close()
  kit = await startKit({ leaveMs: 1 })
  await keep(kit.store)
  const { promise, seen } = hanging(kit)
  const click = kit.ask(linkOf(), post)
  await seen
  await Promise.allSettled([kit.console.close(), click])
  expect(await promise).toBe('given up')
  expect((await kit.store.get(ID)).releases).toEqual([])
})

/** Lets the gate answer only when it is given up. */
function hanging({ gate }: Kit): { readonly promise: Promise<string>; readonly seen: Promise<void> } {
  let tell: (how: string) => void = () => {}
  let see = (): void => {}
  const promise = new Promise<string>((resolve) => {
    tell = resolve
  })
  const seen = new Promise<void>((resolve) => {
    see = resolve
  })
  gate.deliver = async ({ recipients }, signal) => {
    see()
    if (!signal.aborted) await once(signal, 'abort')
    tell('given up')
    const error = new FilterError('E_ABORTED', 'given up')
    return recipients.map((recipient) => ({ recipient, outcome: 'failed', error }))
  }
  return { promise, seen }
}

test('listens on a Unix socket for its group alone', async () => {
  await kit.close()
  kit = await startKit()
  await chmod(kit.directory, 0o700)
  const path = join(kit.directory, 'console.sock')
  const { store, gate } = kit
  const log = { error() {}, warn() {}, info() {} }
  const other = await openConsole({
    address: { path },
    url: URL_BASE,
    secret: SECRET,
    language: 'en',
    contact: 'p@example.org',
    leaveMs: 60_000,
    hostname: 'h',
    store,
    gate,
    isLocal: () => () => true,
    log,
  })
  expect((await stat(path)).mode & 0o777).toBe(0o660)
  await other.close()
})
