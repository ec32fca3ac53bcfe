import { buffer } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { describeWith, freePort, startPostgres, type PostgresService } from '@ecluse/fixtures'
import { at, emptyDatabase } from '../test/postgres.ts'
import { ID, message, record } from '../test/sample.ts'
import { openPostgres, type Postgres, type PostgresOptions, type Session } from './postgresLink.ts'
import { createPostgresStore, type PostgresStore } from './postgresStore.ts'

const never = new AbortController().signal
const MAIL = 'Subject: x\r\n\r\nbody\r\n'
const numbered = (index: number): string => `A${String(index).padStart(11, '0')}`

describeWith({ describe, beforeAll }, 'postgres')('PostgreSQL that fails', () => {
  let postgres: PostgresService
  let url = ''
  let role = ''
  let opened: { close(): Promise<void> }[] = []

  /** Closed after the test. */
  function open(overrides: Partial<PostgresOptions> = {}, where = url): PostgresStore {
    const store = createPostgresStore(at(where, overrides))
    opened.push(store)
    return store
  }

  function openLink(overrides: Partial<PostgresOptions> = {}): Postgres {
    const link = openPostgres(at(url, overrides))
    opened.push(link)
    return link
  }

  const put = async (store: PostgresStore, id = ID, signal = never): Promise<void> =>
    await store.put(record({ id }), message(MAIL, { id }), signal)

  async function listed(store: PostgresStore): Promise<string[]> {
    const ids: string[] = []
    for await (const { id } of store.list()) ids.push(id)
    return ids
  }

  /** Again and again, until it is done: how long that takes is not ours to say. */
  async function untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch {
        // Not yet.
      }
    }
  }

  beforeAll(async () => {
    postgres = await startPostgres()
    url = await postgres.createDatabase()
    role = new URL(url).username
    await createPostgresStore(at(url)).prepare()
  })
  afterAll(async () => {
    await postgres.close()
  })
  beforeEach(async () => {
    await emptyDatabase(postgres, url)
  })
  afterEach(async () => {
    for (const each of opened) await each.close()
    opened = []
  })

  describe('tables', () => {
    test('are made once by four that start at the same time, and used by all', async () => {
      const fresh = await postgres.createDatabase()
      const stores = Array.from({ length: 4 }, () => open({}, fresh))
      await Promise.all(stores.map(async (store) => await store.prepare()))
      expect(await postgres.sql('select version from ecluse_schema', fresh)).toBe('1')
      await Promise.all(stores.map(async (store, index) => await put(store, numbered(index))))
      await stores[0]?.prepare()
      expect(await listed(open({}, fresh))).toHaveLength(4)
    })

    test('of a newer version are refused with the cure, and those that are missing', async () => {
      const fresh = await postgres.createDatabase()
      const missing = { code: 'E_QUARANTINE', hint: 'start `ecluse serve`: it makes them' }
      await expect(put(open({}, fresh))).rejects.toMatchObject(missing)
      await expect(listed(open({}, fresh))).rejects.toMatchObject(missing)
      await open({}, fresh).prepare()
      await postgres.sql('update ecluse_schema set version = 99', fresh)
      const newer = { code: 'E_QUARANTINE', hint: expect.stringContaining('update this') }
      await expect(open({}, fresh).prepare()).rejects.toMatchObject(newer)
      await expect(open({}, fresh).check()).rejects.toMatchObject(newer)
      await expect(put(open({}, fresh))).rejects.toMatchObject(newer)
    })

    test('may belong to another role, which has given the rights', async () => {
      const user = new URL(await postgres.createDatabase()).username
      await postgres.sql(
        `grant select, insert, update, delete on all tables in schema public to ${user}`,
        url,
      )
      const store = open({ user })
      await store.prepare()
      await put(store)
      expect(await listed(store)).toEqual([ID])
      await store.delete(ID)
    })
  })

  describe('settings', () => {
    test('that lose mail, or refuse it, do not matter', async () => {
      await postgres.sql(`alter role ${role} set synchronous_commit = off`)
      await postgres.sql(`alter role ${role} set default_transaction_read_only = on`)
      await postgres.sql(`alter role ${role} set default_transaction_isolation = serializable`)
      await postgres.sql(`alter role ${role} set bytea_output = 'escape'`)
      await postgres.sql(`alter role ${role} set standard_conforming_strings = off`)
      try {
        const store = open()
        await put(store)
        expect((await buffer((await store.open(ID)).open())).toString()).toBe(MAIL)
        const [row] = await openLink().transaction({
          run: (session) =>
            session.query(`select current_setting('synchronous_commit') as commit,
              current_setting('transaction_isolation') as isolation`),
        })
        expect(row).toEqual({ commit: 'on', isolation: 'read committed' })
      } finally {
        await postgres.sql(`alter role ${role} reset all`)
      }
    })

    test('that ask for more than a flush stay', async () => {
      await postgres.sql(`alter role ${role} set synchronous_commit = remote_apply`)
      try {
        const rows = await openLink().transaction({
          run: (session) => session.query(`select current_setting('synchronous_commit') as commit`),
        })
        expect(rows).toEqual([{ commit: 'remote_apply' }])
      } finally {
        await postgres.sql(`alter role ${role} reset all`)
      }
    })
  })

  describe('errors', () => {
    test('say where, what and the cure, and never the password', async () => {
      const { host, port, database, password = '' } = at(url)
      const where = `PostgreSQL ${host}:${port}/`
      const cases: [Partial<PostgresOptions>, string, string][] = [
        [{ password: 'wrong-secret' }, `${where}${database}: the password is wrong, 28P01`, 'pg_hba.conf'],
        [{ user: 'nobody' }, `${where}${database}: the password is wrong, 28P01`, 'quarantine.url'],
        [{ database: 'none' }, `${where}none: there is no such database, 3D000`, 'create it'],
        [{ host: '/none' }, 'PostgreSQL /none/', 'start it'],
        [{ tls: { verify: 'nothing' } }, `${where}${database}: it speaks no TLS`, 'sslmode=disable'],
      ]
      for (const [overrides, text, hint] of cases) {
        const failure: unknown = await open(overrides)
          .check()
          .catch((err: unknown) => err)
        expect(failure).toMatchObject({
          code: 'E_QUARANTINE',
          message: expect.stringContaining(text),
          hint: expect.stringContaining(hint),
        })
        const shown = inspect(failure, { depth: 9, showHidden: true })
        expect(shown).not.toContain(password)
        expect(shown).not.toContain('wrong-secret')
      }
      const { password: _, ...without } = at(url)
      const store = createPostgresStore(without)
      opened.push(store)
      await expect(store.check()).rejects.toMatchObject({
        message: `${where}${database}: it wants a password`,
      })
      const port2 = await freePort()
      await expect(open({ port: port2 }).prepare()).rejects.toMatchObject({
        message: `PostgreSQL ${host}:${port2}/${database}: nobody listens there, ECONNREFUSED`,
      })
    })

    test('hold nothing of what was stored', async () => {
      const link = openLink()
      const failure: unknown = await link
        .transaction({
          run: (session) =>
            session.change('insert into ecluse_schema (version) values ($1::text::integer)', ['secret-mail']),
        })
        .catch((err: unknown) => err)
      expect(failure).toMatchObject({ code: 'E_QUARANTINE', message: expect.stringContaining('22P02') })
      expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('secret-mail')
    })

    test('of a statement are those of its transaction, whoever catches them', async () => {
      const link = openLink()
      const work = link.transaction({
        run: async (session) => {
          await session.change('insert into ecluse_total values (1, 1)')
          await session.query('select 1 / 0').catch(() => undefined)
        },
      })
      await expect(work).rejects.toMatchObject({ code: 'E_QUARANTINE' })
      expect(await postgres.sql('select count(*) from ecluse_total', url)).toBe('0')
    })
  })

  describe('connections', () => {
    test('that are not to be had are said to be too few, and come back', async () => {
      await postgres.sql(`alter role ${role} connection limit 0`)
      const store = open()
      await expect(put(store)).rejects.toMatchObject({
        message: expect.stringContaining('it has no connection free, 53300'),
        hint: expect.stringContaining('quarantine.connections'),
      })
      await postgres.sql(`alter role ${role} connection limit -1`)
      await put(store)
    })

    test('that the server ends while they are idle are made anew', async () => {
      const store = open({ connections: 1 })
      for (let count = 0; count < 5; count++) {
        await untilDone(() => put(store, numbered(count)))
        await postgres.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`)
      }
      expect(await untilDone(() => listed(store))).toHaveLength(5)
    })

    test('that the server ends in the midst of a transaction leave nothing', async () => {
      const link = openLink()
      const work = link.transaction({
        run: async (session) => {
          await session.change('insert into ecluse_total values (1, 1)')
          await postgres.sql(
            `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`,
          )
          await session.change('insert into ecluse_total values (1, 1)')
        },
      })
      await expect(work).rejects.toMatchObject({ code: 'E_QUARANTINE' })
      expect(await postgres.sql('select count(*) from ecluse_total', url)).toBe('0')
    })

    test('are enough for a hundred that want one at the same time', async () => {
      const store = open({ connections: 2 })
      await Promise.all(Array.from({ length: 100 }, async (_, index) => await put(store, numbered(index))))
      expect(await listed(store)).toHaveLength(100)
      expect(
        Number(await postgres.sql(`select count(*) from pg_stat_activity where usename = '${role}'`)),
      ).toBeLessThanOrEqual(2)
    })

    test('are given up when the signal aborts, and the lock with them', async () => {
      const link = openLink()
      const store = open({ connections: 1 })
      await link.transaction({
        run: async (session) => {
          await lockAll(session)
          const [first, second] = [new AbortController(), new AbortController()]
          const one = put(store, numbered(1), first.signal)
          // Waits for the only connection.
          const two = put(store, numbered(2), second.signal)
          await waiting(1)
          second.abort()
          await expect(two).rejects.toMatchObject({ message: expect.stringContaining('aborted') })
          first.abort()
          await expect(one).rejects.toMatchObject({ message: expect.stringContaining('aborted') })
        },
      })
      await put(store, numbered(3))
      expect(await listed(store)).toEqual([numbered(3)])
    })

    test('are ended by close, also those that are in use', async () => {
      const store = open()
      await openLink().transaction({
        run: async (session) => {
          await lockAll(session)
          const one = put(store)
          await waiting(1)
          await Promise.all([
            expect(one).rejects.toMatchObject({ message: expect.stringContaining('aborted') }),
            store.close(),
          ])
          await store.close()
        },
      })
      await expect(put(store)).rejects.toMatchObject({ code: 'E_QUARANTINE' })
    })

    async function lockAll(session: Session): Promise<void> {
      await session.query('lock table ecluse_message in access exclusive mode')
    }

    /** Until so many wait for a lock. */
    async function waiting(count: number): Promise<void> {
      const text = `select count(*) from pg_stat_activity where usename = '${role}' and wait_event_type = 'Lock'`
      while (Number(await postgres.sql(text)) < count);
    }
  })

  describe('the server', () => {
    test('that does not answer fails a put, and is used again when it does', async () => {
      const store = open({ timeoutMs: 1000, connections: 2 })
      await untilDone(() => put(store, numbered(0)))
      await postgres.pause()
      const failures = await Promise.allSettled(
        Array.from({ length: 8 }, async (_, index) => await put(store, numbered(index + 1))),
      )
      expect(failures.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 'rejected'))
      await expect(store.check()).rejects.toMatchObject({
        code: 'E_QUARANTINE',
        message: expect.stringContaining('no answer in time'),
      })
      await postgres.resume()
      for (let count = 0; count < 9; count++) await untilDone(() => put(store, numbered(count)))
      expect(await untilDone(() => listed(store))).toHaveLength(9)
      expect(await untilDone(() => store.usage())).toMatchObject({ files: 9 })
    })

    test('that is too slow for a statement says so itself', async () => {
      const link = openLink()
      const store = open({ timeoutMs: 1000 })
      await untilDone(() => store.check())
      await link.transaction({
        run: async (session) => {
          await session.query('lock table ecluse_message in access exclusive mode')
          await expect(put(store)).rejects.toMatchObject({ code: 'E_QUARANTINE', hint: expect.any(String) })
        },
      })
      await untilDone(() => put(store))
    })

    test('that is killed under load loses nothing that was kept, and shows nothing else', async () => {
      const store = open({ connections: 4 })
      const kept = new Set<string>()
      let next = 0
      let down = false
      const lane = async (): Promise<void> => {
        while (next < 60) {
          const index = next++
          const id = numbered(index)
          const mail = message(Buffer.alloc(600_000, id), { id, stream: true })
          try {
            await store.put(record({ id }), mail, never)
            kept.add(id)
          } catch {
            // It comes again, as Postfix does.
          }
          if (index === 20 && !down) {
            down = true
            await postgres.kill()
            await postgres.restart()
          }
        }
      }
      await Promise.all([lane(), lane(), lane(), lane()])
      const there = await untilDone(() => listed(store))
      expect([...kept].filter((id) => !there.includes(id))).toEqual([])
      for (let index = 0; index < 60; index++) {
        const id = numbered(index)
        const mail = message(Buffer.alloc(600_000, id), { id, stream: true })
        await untilDone(() => store.put(record({ id }), mail, never))
        const bytes = await buffer((await store.open(id)).open())
        expect(bytes.equals(Buffer.alloc(600_000, id))).toBe(true)
      }
      expect(await store.usage()).toMatchObject({ files: 60 })
    })
  })
})
