import { Readable } from 'node:stream'
import { afterEach, expect, test } from '@jest/globals'
import { formatAddress } from '@ecluse/core'
import { GTUBE, startFakeRspamd, startFakeSpamd, testMessage } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { rspamd } from './rspamd.ts'
import { spamd } from './spamd.ts'

const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0)) await release()
})

const KINDS = {
  spamd: async () => {
    const fake = await startFakeSpamd()
    const scanner = spamd.create('spamd', spamd.options.parse({ address: formatAddress(fake.address) }))
    return { fake, scanner }
  },
  rspamd: async () => {
    const fake = await startFakeRspamd()
    const url = `http://${formatAddress(fake.address)}`
    return { fake, scanner: rspamd.create('rspamd', rspamd.options.parse({ url })) }
  },
}

test.each(['spamd', 'rspamd'] as const)(
  'the answer of %s counts although the file has not told its end yet',
  async (kind) => {
    const { fake, scanner } = await KINDS[kind]()
    releases.push(
      () => fake.close(),
      () => scanner.close?.(),
    )
    const message = testMessage(`From: <bob@example.com>\r\n\r\n${GTUBE}\r\n${'x'.repeat(300_000)}\r\n`, {
      pieceBytes: 65_536,
    })
    const open = (): Readable =>
      Readable.from(
        (async function* () {
          yield* message.open() as AsyncIterable<Buffer>
          await new Promise(() => undefined)
        })(),
        { objectMode: false },
      )
    await expect(
      scanner.scan(request({ ...message, open }), new AbortController().signal),
    ).resolves.toMatchObject({ findings: [{ kind: 'score', symbols: expect.anything() }] })
    await fake.idle()
  },
)
