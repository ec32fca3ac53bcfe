import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { describeWith, startPostgres, type PostgresService } from '@ecluse/fixtures'
import { at } from '../test/postgres.ts'
import { ID, message, record } from '../test/sample.ts'
import type { PostgresOptions } from './postgresLink.ts'
import { createPostgresStore, type PostgresStore } from './postgresStore.ts'

const never = new AbortController().signal
let folder = ''
let postgres: PostgresService
let url = ''
let opened: PostgresStore[] = []

function open(overrides: Partial<PostgresOptions> = {}): PostgresStore {
  const store = createPostgresStore(at(url, overrides))
  opened.push(store)
  return store
}

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
})

describeWith({ describe, beforeAll }, 'postgres')('PostgreSQL behind TLS', () => {
  let cert: Buffer

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ecluse-postgres-tls-'))
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=db', '-addext', 'subjectAltName=IP:127.0.0.1']
    const files = ['-keyout', key, '-out', certificate]
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files],
      { stdio: 'ignore' },
    )
    cert = readFileSync(certificate)
    postgres = await startPostgres({
      tls: { key: readFileSync(key, 'latin1'), cert: cert.toString('latin1') },
    })
    url = await postgres.createDatabase()
    await open().prepare()
  })
  afterAll(async () => {
    await postgres.close()
    rmSync(folder, { recursive: true })
  })

  const usesTls = async (): Promise<string> =>
    await postgres.sql(
      `select bool_or(ssl) from pg_stat_ssl join pg_stat_activity using (pid)
       where usename = '${new URL(url).username}'`,
    )

  test.each(['nothing', 'authority', 'authority and host'] as const)(
    'is used, with %s of its certificate looked at',
    async (verify) => {
      const store = open({ tls: { verify, ca: cert } })
      await store.check()
      expect(await usesTls()).toBe('t')
    },
  )

  test('is refused where nobody knows its authority, or it is another host', async () => {
    const failure = { code: 'E_QUARANTINE', hint: expect.stringContaining('sslrootcert=/PATH') }
    await expect(open({ tls: { verify: 'authority and host' } }).check()).rejects.toMatchObject(failure)
    await expect(open({ tls: { verify: 'authority' } }).check()).rejects.toMatchObject(failure)
    const elsewhere = { host: 'localhost', tls: { verify: 'authority and host', ca: cert } } as const
    await expect(open(elsewhere).check()).rejects.toMatchObject({
      message: expect.stringContaining('its certificate is of another host'),
    })
    await open({ ...elsewhere, tls: { verify: 'authority', ca: cert } }).check()
  })

  test('is cut off too when a signal aborts', async () => {
    const store = open({ tls: { verify: 'nothing' } })
    await store.put(record(), message('x'), never)
    const stop = new AbortController()
    const source = message('y', { id: 'B00000000000', stream: true })
    const put = store.put(
      record({ id: source.id }),
      {
        ...source,
        open: () => {
          stop.abort()
          return source.open()
        },
      },
      stop.signal,
    )
    await expect(put).rejects.toMatchObject({ code: 'E_QUARANTINE' })
    expect((await store.get(ID)).id).toBe(ID)
  })

  test('stands beside a Unix socket', async () => {
    const store = open({ host: postgres.socketDirectory })
    await store.delete(ID)
    await expect(store.get(ID)).rejects.toMatchObject({ message: `${ID}: is not in quarantine` })
  })
})

/** Why no small file system can be had here; absent: it can. */
function noMount(): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'ecluse-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path], { stdio: 'ignore' })
    execFileSync('umount', [path])
    return undefined
  } catch {
    // Whatever the reason: it is no test for this machine.
    return 'no file system can be mounted'
  } finally {
    rmSync(path, { recursive: true })
  }
}

describeWith(
  { describe, beforeAll },
  'postgres',
  noMount,
)('PostgreSQL on a small disk', () => {
  let disk = ''

  beforeAll(async () => {
    disk = mkdtempSync(join(tmpdir(), 'ecluse-postgres-disk-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk])
    chmodSync(disk, 0o777)
    postgres = await startPostgres()
    url = await postgres.createDatabase()
    const { username, pathname } = new URL(url)
    const data = join(disk, 'data')
    execFileSync('install', ['-d', '-o', 'postgres', '-g', 'postgres', '-m', '0700', data])
    await postgres.sql(`create tablespace small owner ${username} location '${data}'`)
    await postgres.sql(`alter database ${pathname.slice(1)} set default_tablespace = small`)
    await open().prepare()
  })
  afterAll(async () => {
    await postgres.close()
    execFileSync('umount', [disk])
    rmSync(disk, { recursive: true })
  })

  test('says that it is full, keeps what it has, and takes mail again when there is room', async () => {
    const store = open()
    await store.put(record(), message('x'), never)
    // Of bytes that cannot be packed.
    const bytes = execFileSync('head', ['-c', '8000000', '/dev/urandom'], { maxBuffer: 9_000_000 })
    const large = message(bytes, { id: 'B00000000000', stream: true })
    await expect(store.put(record({ id: large.id }), large, never)).rejects.toMatchObject({
      code: 'E_QUARANTINE',
      message: expect.stringContaining('its disk is full, 53100'),
      hint: expect.stringContaining('make room'),
    })
    expect((await store.get(ID)).id).toBe(ID)
    execFileSync('mount', ['-o', 'remount,size=60m', disk])
    const small = message('y', { id: 'C00000000000' })
    await store.put(record({ id: small.id }), small, never)
    expect((await store.usage()).files).toBe(2)
  })
})
