import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, test } from '@jest/globals'
import type { Message } from '@ecluse/core'
import { envelope, ID, message, record, VIRUS } from './sample.ts'
import { listed, MAIL, never, numbered, original, release, type Current } from './storeKit.ts'

/** What is kept comes back. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function keeping({ store, other }: Current): void {
  test.each([false, true])('keeps the bytes and all that was decided (stream: %s)', async (stream) => {
    const mail = message(Buffer.from(MAIL, 'latin1'), { stream })
    const kept = record()
    await store().put(kept, mail, never)
    expect(await original(store(), ID)).toEqual(Buffer.from(MAIL, 'latin1'))
    expect(await store().get(ID)).toEqual({
      id: ID,
      category: 'spam',
      storedAt: kept.storedAt,
      hostname: 'filter.example.org',
      envelope: kept.envelope,
      subject: 'Fête',
      sizeBytes: mail.sizeBytes,
      digest: mail.digest,
      outcomes: kept.decisions.map(({ recipient, category, destiny, local, quarantined, score, reason }) => ({
        recipient,
        category,
        destiny,
        local,
        quarantined,
        ...(score !== undefined && { score }),
        reason,
        state: 'kept',
      })),
      releases: [],
    })
  })

  test.each([
    '',
    '\r\n',
    ' folded\r\n',
    'no header',
    'X-Ecluse-Quarantine: v=1; header-bytes=0000000009;\r\n {}',
  ])('gives back an original that is %j', async (text) => {
    await store().put(record(), message(text), never)
    expect(await original(store(), ID)).toEqual(Buffer.from(text))
    expect((await store().open(ID)).sizeBytes).toBe(text.length)
  })

  test.each([1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 25_000_000])(
    'gives back %d bytes, as often as they are read',
    async (size) => {
      const bytes = Buffer.alloc(size, 'From: a@x\r\nthese bytes repeat in 47 of them\r\n.\r\n')
      await store().put(record(), message(bytes, { stream: true }), never)
      const opened = await store().open(ID)
      expect((await buffer(opened.open())).equals(bytes)).toBe(true)
      expect((await buffer(opened.open())).equals(bytes)).toBe(true)
    },
  )

  test('frees what it reads from when the reader has enough', async () => {
    await store().put(record(), message(Buffer.alloc(3_000_000), { stream: true }), never)
    for (let count = 0; count < 20; count++) {
      for await (const part of (await store().open(ID)).open()) {
        expect((part as Buffer).length).toBeGreaterThan(0)
        break
      }
    }
    expect((await original(store(), ID)).length).toBe(3_000_000)
  })

  test('does not write the same message twice, nor another under the same id', async () => {
    await store().put(record(), message(MAIL), never)
    const usage = await store().usage()
    await store().put(record(), message(MAIL), never)
    await store().put(record({ assessment: VIRUS }), message(MAIL), never)
    expect((await store().get(ID)).category).toBe('spam')
    await expect(store().put(record(), message('other'), never)).rejects.toMatchObject({
      code: 'E_QUARANTINE',
      message: `${ID}: another message is kept under this id`,
    })
    expect(await original(store(), ID)).toEqual(Buffer.from(MAIL))
    expect(await store().usage()).toEqual(usage)
  })

  test('keeps 50 at the same time, the same one among them, of two processes', async () => {
    const second = other()
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const id = numbered(index % 40)
        const mail = message(`${MAIL}${id}`, { id, stream: index % 2 === 0 })
        await (index % 3 === 0 ? second : store()).put(record({ id }), mail, never)
      }),
    )
    await second.close()
    const ids = await listed(store())
    expect(ids.toSorted()).toEqual(Array.from({ length: 40 }, (_, index) => numbered(index)).toSorted())
    for (const id of ids) expect((await original(store(), id)).toString()).toBe(`${MAIL}${id}`)
    expect((await store().usage()).files).toBe(40)
  })

  test('keeps a thousand recipients', async () => {
    const recipients = Array.from({ length: 1000 }, (_, index) => ({ address: `user${index}@example.org` }))
    await store().put(record({ envelope: envelope({ recipients }) }), message(MAIL), never)
    expect((await store().get(ID)).envelope.recipients).toEqual(recipients)
    expect(await listed(store(), { recipient: 'user999@example.org' })).toEqual([ID])
  })

  test.each([
    'nul\0nul',
    "'; drop table ecluse_message; --",
    '\u{dc80}\u{dcff}',
    '\ud800',
    '😀\u202e',
    '\\x00',
    '$1 %s {}',
  ])('keeps and finds the hostile text %j', async (text) => {
    const recipients = [{ address: `${text}@${text}.example` }]
    const hostile = envelope({ mailFrom: `${text}@x`, recipients })
    const subject = `=?utf-8?b?${Buffer.from(text).toString('base64')}?=`
    await store().put(record({ envelope: hostile }), message(`Subject: ${subject}\r\n\r\n`), never)
    const entry = await store().get(ID)
    expect(entry.envelope).toEqual(hostile)
    expect(await listed(store(), { sender: hostile.mailFrom })).toEqual([ID])
    expect(await listed(store(), { recipient: `${text}.example` })).toEqual([ID])
    expect(await listed(store(), { subject: entry.subject ?? '' })).toEqual([ID])
  })
}

/** Fails or ends at the given byte, as a spool file does that is damaged. */
function broken(at: number, error?: Error): Message {
  const { bytes: whole = Buffer.alloc(0), ...mail } = message(MAIL)
  async function* chunks(): AsyncGenerator<Buffer> {
    yield whole.subarray(0, at)
    if (error) throw error
  }
  return { ...mail, open: () => Readable.from(chunks(), { objectMode: false }) }
}

const BAD_IDS = ['', '../../../etc', 'Abc-123_xyZ', 'Abc-123_xyZ99', 'Abc-123_xyZ\n', 'Abc\u0000123_xyZ9']

/** What fails leaves nothing. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function failing({ store }: Current): void {
  test.each([
    ['its source fails', broken(10, new Error('disk'))],
    ['its source ends early', broken(10)],
    ['its bytes are too few', { ...message(MAIL, { stream: true }), sizeBytes: 999 }],
    ['its bytes are too many', { ...message(MAIL, { stream: true }), sizeBytes: 9 }],
  ])('leaves nothing of a message when %s', async (_, mail) => {
    await expect(store().put(record(), mail, never)).rejects.toMatchObject({ code: 'E_QUARANTINE' })
    expect(await listed(store())).toEqual([])
    expect(await store().usage()).toEqual({ files: 0, bytes: 0 })
    await store().put(record(), message(MAIL), never)
    expect(await listed(store())).toEqual([ID])
  })

  test('leaves nothing of a message when the signal aborts, and frees the source', async () => {
    const controller = new AbortController()
    const source = new Readable({ read() {} })
    source.push('From: a@x\r\n')
    const { bytes: _, ...mail } = message(MAIL)
    let opened = (): void => undefined
    const reading = new Promise<void>((resolve) => {
      opened = resolve
    })
    const open = (): Readable => {
      opened()
      return source
    }
    const put = store().put(record(), { ...mail, open }, controller.signal)
    await reading
    controller.abort()
    await expect(put).rejects.toMatchObject({ code: 'E_QUARANTINE' })
    expect(source.destroyed).toBe(true)
    await expect(store().put(record(), message(MAIL), controller.signal)).rejects.toMatchObject({
      code: 'E_QUARANTINE',
    })
    expect(await listed(store())).toEqual([])
    await store().put(record(), message(MAIL), never)
  })

  test.each(BAD_IDS)('refuses the id %j', async (id) => {
    const failure = { code: 'E_QUARANTINE', message: expect.stringContaining('is not an id') }
    await expect(store().put(record({ id }), message(MAIL), never)).rejects.toMatchObject(failure)
    await expect(store().get(id)).rejects.toMatchObject(failure)
    await expect(store().open(id)).rejects.toMatchObject(failure)
    await expect(store().delete(id)).rejects.toMatchObject(failure)
    await expect(store().delete(id, ['a@x'])).rejects.toMatchObject(failure)
    await expect(store().markReleased(id, release())).rejects.toMatchObject(failure)
    await expect(listed(store(), {}, { after: id })).rejects.toMatchObject(failure)
  })

  test('says that there is none of an id, before and after it is deleted', async () => {
    const failure = { code: 'E_QUARANTINE', message: `${ID}: is not in quarantine` }
    await expect(store().get(ID)).rejects.toMatchObject(failure)
    await expect(store().markReleased(ID, release())).rejects.toMatchObject(failure)
    await expect(store().delete(ID, ['a@x'])).rejects.toMatchObject(failure)
    await expect(listed(store(), {}, { after: ID })).rejects.toMatchObject(failure)
    await store().put(record(), message(MAIL), never)
    const opened = await store().open(ID)
    await store().delete(ID)
    await expect(store().delete(ID)).rejects.toMatchObject(failure)
    await expect(store().open(ID)).rejects.toMatchObject(failure)
    await expect(buffer(opened.open())).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  })
}
