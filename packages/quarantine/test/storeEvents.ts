import { expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import type { QuarantineItem } from '../src/record.ts'
import { ID, message, record, VIRUS } from './sample.ts'
import { DAY_MS, day, listed, MAIL, never, numbered, release, type Current } from './storeKit.ts'

/** Releases and deletions. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function events({ store, other }: Current): void {
  test('remembers each release, and who had it', async () => {
    await store().put(record(), message(MAIL), never)
    const second = other()
    await second.markReleased(ID, release())
    await store().markReleased(ID, release({ to: ['bob@example.org', 'new@example.org'], as: 'resend' }))
    await second.close()
    const entry = await store().get(ID)
    expect(entry.outcomes.map(({ state }) => state)).toEqual(['released', 'released'])
    expect(entry.releases.map(({ to }) => to)).toEqual([
      ['anna@example.org'],
      ['bob@example.org', 'new@example.org'],
    ])
    expect((await store().stats()).settled).toBe(1)
    expect(await listed(store(), { states: ['kept'] })).toEqual([])
  })

  test('remembers a virus that was found later, and lists it as what it came as', async () => {
    await store().put(record(), message(MAIL), never)
    const second = other()
    const infection = { at: new Date(), recipients: ['bob@example.org'], reason: 'INFECTED: Late' }
    await second.markInfected(ID, infection)
    await second.close()
    const { outcomes } = await store().get(ID)
    expect(outcomes.map(({ category, state }) => [category, state])).toEqual([
      ['spam', 'kept'],
      ['virus', 'kept'],
    ])
    expect(outcomes[1]?.reason).toBe('INFECTED: Late')
    expect(await listed(store(), { categories: ['spam'], states: ['kept'] })).toEqual([ID])
    await expect(store().markInfected('AAAAAAAAAAA9', infection)).rejects.toMatchObject({
      code: 'E_QUARANTINE',
    })
  })

  test('deletes for one, and altogether with the last', async () => {
    await store().put(record(), message(MAIL), never)
    await store().delete(ID, ['anna@example.org'])
    expect((await store().get(ID)).outcomes.map(({ state }) => state)).toEqual(['deleted', 'kept'])
    expect(await listed(store(), { recipient: 'anna@example.org', states: ['kept'] })).toEqual([])
    expect(await listed(store(), { recipient: 'bob@example.org', states: ['kept'] })).toEqual([ID])
    await store().delete(ID, ['bob@example.org'])
    await expect(store().get(ID)).rejects.toMatchObject({ message: `${ID}: is not in quarantine` })
    expect(await store().usage()).toEqual({ files: 0, bytes: 0 })
  })

  test('loses none of ten releases that come at once, from two processes', async () => {
    await store().put(record(), message(MAIL), never)
    const second = other()
    await Promise.all(
      Array.from({ length: 10 }, async (_, index) => {
        await (index % 2 === 0 ? store() : second).markReleased(ID, release({ by: `user${index}` }))
      }),
    )
    await second.close()
    const { releases } = await store().get(ID)
    expect(releases.map(({ by }) => by).toSorted()).toEqual(
      Array.from({ length: 10 }, (_, index) => `user${index}`),
    )
  })
}

/** Figures, and what they are good for. */
// oxlint-disable-next-line max-lines-per-function -- a list of tests
export function expiry({ store, other }: Current): void {
  /** Spam of that many days; the id tells the day. */
  async function keepDays(...dates: readonly number[]): Promise<void> {
    for (const date of dates) {
      const id = numbered(date)
      await store().put(record({ id, storedAt: day(date) }), message(MAIL, { id }), never)
    }
  }

  test('counts what is kept, and sees what other processes add and delete', async () => {
    const second = other()
    expect(await store().usage()).toEqual({ files: 0, bytes: 0 })
    await keepDays(1, 2)
    const { files, bytes } = await store().usage()
    expect(files).toBe(2)
    expect(bytes).toBeGreaterThan(2 * MAIL.length)
    expect(await second.stats()).toEqual({
      files,
      bytes,
      categories: [{ category: 'spam', files, bytes, oldest: day(1), newest: day(2) }],
      settled: 0,
    })
    await second.delete(numbered(1))
    expect(await store().usage()).toEqual({ files: 1, bytes: bytes / 2 })
    await second.close()
  })

  test('counts right while mail comes and goes, and others count', async () => {
    const second = other()
    const ids = Array.from({ length: 150 }, (_, index) => numbered(index))
    const keepAll = ids.map(async (id, index) => {
      const each = index % 2 === 0 ? store() : second
      await each.put(record({ id }), message(id, { id }), never)
      if (index % 3 === 0) await each.delete(id)
      if (index % 10 === 0) await (index % 20 === 0 ? store() : second).usage()
      if (index % 50 === 0) await store().rebuild()
    })
    await Promise.all(keepAll)
    const { files, bytes } = await store().stats()
    expect(files).toBe(100)
    expect(await store().usage()).toEqual({ files, bytes })
    expect(await second.usage()).toEqual({ files, bytes })
    await second.close()
  })

  test('deletes what is overdue, the oldest first, and says whether there is more', async () => {
    await keepDays(1, 2, 3, 4)
    const work = { now: day(10), limit: 2, signal: never }
    const retention = { keepMs: { spam: 6 * DAY_MS + 1 } }
    expect(await store().expire(retention, work)).toMatchObject({ files: 2, more: true })
    expect(await listed(store())).toEqual([numbered(4), numbered(3)])
    expect(await store().expire(retention, work)).toMatchObject({ files: 1, more: false })
    expect(await store().expire(retention, work)).toEqual({ files: 0, bytes: 0, more: false })
    expect(await listed(store())).toEqual([numbered(4)])
    expect(await store().expire({ keepMs: { virus: 1 } }, work)).toMatchObject({ files: 0 })
  })

  test('makes room: what nobody waits for, then the oldest spam, then the rest', async () => {
    await keepDays(1, 2, 3)
    const virus = { assessment: VIRUS, storedAt: day(0) }
    await store().put(record({ id: ID, ...virus }), message(MAIL), never)
    await store().markReleased(numbered(3), release({ to: ['anna@example.org', 'bob@example.org'] }))
    const work = { now: day(10), limit: 1, signal: never }
    for (const left of [[2, 1].map(numbered), [numbered(2)], []]) {
      expect(await store().expire({ keepMs: {}, maxBytes: 1 }, work)).toMatchObject({ files: 1, more: true })
      expect(await listed(store())).toEqual([...left, ID])
    }
    const { bytes } = await store().usage()
    expect(await store().expire({ keepMs: {}, maxBytes: bytes }, work)).toMatchObject({ files: 0 })
    expect(await store().expire({ keepMs: {}, maxBytes: bytes - 1 }, work)).toEqual({
      files: 1,
      bytes,
      more: false,
    })
  })

  test('deletes 250 overdue messages in one call, and each once where two are at it', async () => {
    await Promise.all(
      Array.from({ length: 250 }, async (_, index) => {
        const id = numbered(index)
        await store().put(record({ id, storedAt: day(1) }), message(id, { id }), never)
      }),
    )
    const second = other()
    const work = { now: day(10), limit: 1000, signal: never }
    const done = await Promise.all(
      [store(), second].map(async (each) => await each.expire({ keepMs: { spam: DAY_MS } }, work)),
    )
    await second.close()
    const rest = await store().expire({ keepMs: { spam: DAY_MS } }, work)
    expect([...done, rest].reduce((sum, { files }) => sum + files, 0)).toBe(250)
    expect(await store().usage()).toEqual({ files: 0, bytes: 0 })
  })

  test('deletes nothing when the signal has aborted', async () => {
    await keepDays(1)
    const work = { now: day(10), limit: 9, signal: AbortSignal.abort() }
    await expect(store().expire({ keepMs: { spam: DAY_MS } }, work)).rejects.toBeInstanceOf(FilterError)
    expect(await listed(store())).toEqual([numbered(1)])
  })

  test('does what one process is enough for, and lets go of it however it ends', async () => {
    const second = other()
    const within = await store().alone('rescan', async () => [
      await second.alone('rescan', async () => 'both'),
    ])
    expect(within).toEqual([undefined])
    const failing = store().alone('rescan', async () => await Promise.reject(new TypeError('x')))
    await expect(failing).rejects.toThrow('x')
    expect(await second.alone('rescan', async () => 'done')).toBe('done')
    await second.close()
  })

  test('makes what it keeps for speed anew, and nothing changes', async () => {
    await keepDays(1, 2, 3)
    await store().markReleased(numbered(1), release())
    await store().delete(numbered(2), ['anna@example.org'])
    const items = async (): Promise<QuarantineItem[]> => {
      const found: QuarantineItem[] = []
      for await (const item of store().list()) found.push(item)
      return found
    }
    const [before, usage, stats] = [await items(), await store().usage(), await store().stats()]
    expect(await store().rebuild()).toEqual(usage)
    expect(await items()).toEqual(before)
    expect(await store().usage()).toEqual(usage)
    expect(await store().stats()).toEqual(stats)
  })
}
