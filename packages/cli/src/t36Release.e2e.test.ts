import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import {
  EICAR,
  describeWith,
  freePort,
  startMailSystem,
  type EcluseMessageLine,
  type MailSystem,
  type SinkMessage,
} from '@ecluse/fixtures'
import { releaseLink } from '@ecluse/console'
import { createFileStore } from '@ecluse/quarantine'
import { keep as keepCopy, kept, MAIL } from '../test/quarantineKit.ts'

const SECRET = 'correct horse battery staple, 32 and more'
const ANNA = 'anna@example.org'
const BOB = 'bob@example.org'
const SPAM = 'ECLUSE-TEST-SCORE=20 .'

describeWith({ describe, beforeAll }, 'postfix')('recipients release their mail, through Postfix', () => {
  let system: MailSystem
  let url: string

  beforeAll(async () => {
    url = `http://127.0.0.1:${await freePort()}`
    system = await startMailSystem({
      yaml: `localDomains: [example.org]
scanners: [{ kind: test }]
notices: { recipients: true, digestTime: '00:00' }
console: { address: '${new URL(url).host}', url: '${url}' }`,
      quarantine: `secret: '${SECRET}'`,
    })
  }, 60_000)

  afterAll(async () => {
    await system?.close()
  })

  async function keep(body: string): Promise<string> {
    const { line } = await system.pass(
      {
        mailFrom: 'marie@example.net',
        recipients: [ANNA, BOB],
        data: `From: marie@example.net\r\nSubject: Offer\r\n\r\n${body}\r\n`,
      },
      0,
    )
    return idOf(line)
  }

  /** What comes to the sink because of it. */
  async function arriving(count: number, work: () => Promise<void>): Promise<readonly SinkMessage[]> {
    const before = system.sink.messages.length
    await work()
    await system.sink.waitFor(before + count)
    await system.postfix.waitForQueue((queue) => queue.length === 0)
    return system.sink.messages.slice(before)
  }

  const linkOf = (id: string, recipient = ANNA): string =>
    releaseLink({ url, secret: SECRET }, { id, recipient }) ?? ''

  test('says where it is', () => {
    expect(system.ecluse().output()).toContain(`, console ${new URL(url).host}\n`)
  })

  test('a link shows the message, its button brings it to that recipient alone, once', async () => {
    const id = await keep(SPAM)
    expect(await arriving(0, async () => void (await title(linkOf(id))))).toEqual([])
    const [delivered, ...more] = await arriving(1, async () => {
      expect(await title(linkOf(id), 'POST')).toEqual([200, 'Released'])
      expect(await title(linkOf(id), 'POST')).toEqual([200, 'Released already'])
    })
    expect(more).toEqual([])
    expect(delivered?.recipients.map(({ address }) => address)).toEqual([ANNA])
    expect(delivered?.data.toString()).toMatch(/^Resent-To: anna@example\.org\r$[^]*^Subject: Offer\r$/m)
    expect(await title(linkOf(id, BOB))).toEqual([200, 'A message is kept for you'])
  })

  test('a virus and a wrong link bring nothing', async () => {
    const id = await keep(EICAR)
    const delivered = await arriving(0, async () => {
      expect(await title(linkOf(id), 'POST')).toEqual([403, 'Not to be released here'])
      expect(await title(linkOf(id, 'eve@example.org'), 'POST')).toEqual([403, 'Not to be released here'])
      expect(await title(`${linkOf(id)}x`, 'POST')).toEqual([404, 'No such message'])
    })
    expect(delivered).toEqual([])
  })

  test('while Postfix takes nothing, it says later, and a later click does it', async () => {
    const id = await keep(SPAM)
    await system.relay.shut()
    expect(await title(linkOf(id), 'POST')).toEqual([503, 'Not now'])
    await system.relay.open()
    const delivered = await arriving(1, async () => {
      expect(await title(linkOf(id), 'POST')).toEqual([200, 'Released'])
    })
    expect(delivered).toHaveLength(1)
  })

  test('the link of the daily list does it', async () => {
    await system.stopEcluse()
    kept.store = createFileStore(join(system.ecluse().directory, 'quarantine'))
    const at = new Date()
    at.setDate(at.getDate() - 1)
    at.setHours(12, 0, 0, 0)
    await keepCopy({ id: 'AAAAAAAAAAA1', day: 1, at })
    await kept.store.close()
    const lists = await arriving(2, async () => void (await system.startEcluse()))
    const list = lists.find(({ recipients }) => recipients[0]?.address === ANNA)
    const text = (list?.data.toString() ?? '').replace(/=\r\n/g, '').replaceAll('=3D', '=')
    const link = new RegExp(`^Release: {2}(${url}/release/AAAAAAAAAAA1\\S+)\r$`, 'm').exec(text)?.[1] ?? ''
    const [delivered] = await arriving(1, async () => {
      expect(await title(link, 'POST')).toEqual([200, 'Released'])
    })
    expect(delivered?.recipients.map(({ address }) => address)).toEqual([ANNA])
    expect(delivered?.data.toString()).toContain(MAIL)
  })
})

function idOf({ quarantineId = '' }: EcluseMessageLine): string {
  return quarantineId
}

/** Status and heading of a page. */
async function title(link: string, method = 'GET'): Promise<[number, string | undefined]> {
  const response = await fetch(link, { method })
  return [response.status, /<h1>(.*)<\/h1>/.exec(await response.text())?.[1]]
}
