import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { Message } from '@ecluse/core'
import { envelope, ID, message, record, VIRUS } from '../test/sample.ts'
import { createFileStore } from './fileStore.ts'
import type { QuarantineFilter, QuarantinePage, QuarantineStore } from './store.ts'

const never = new AbortController().signal
const MAIL = 'From: a@x\r\nSubject: =?utf-8?q?F=C3=AAte?=\r\n\r\nbody\n.\r\n\0\xff'
let directory = ''
let store: QuarantineStore

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'ecluse-quarantine-')), 'q')
  store = createFileStore(directory)
  await store.prepare()
})

afterEach(async () => {
  await store.close()
  await rm(join(directory, '..'), { recursive: true, force: true })
})

/** All but the index. */
const tree = async (): Promise<string[]> =>
  (await readdir(directory, { recursive: true })).filter((name) => !name.startsWith('index')).sort()

async function listed(filter?: QuarantineFilter, page?: QuarantinePage): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.list(filter, page)) ids.push(id)
  return ids
}

const original = async (id: string): Promise<Buffer> => await buffer((await store.open(id)).open())
const numbered = (index: number): string => `${'AbZ0_-'[index % 6]}${String(index).padStart(11, '0')}`

test.each([false, true])(
  'keeps the bytes untouched, in a file of our own name (stream: %s)',
  async (stream) => {
    const mail = message(Buffer.from(MAIL, 'latin1'), { stream })
    await store.put(record(), mail, never)
    expect(await tree()).toEqual(['A', `A/spam-${ID}.eml`, 'tmp'])
    const bytes = await readFile(join(directory, `A/spam-${ID}.eml`))
    expect(bytes.toString('latin1')).toMatch(/^Return-Path: <sender@example\.net>\r\n/)
    expect(bytes.toString('latin1').endsWith(`}]}\r\n${MAIL}`)).toBe(true)
    expect(await original(ID)).toEqual(Buffer.from(MAIL, 'latin1'))
    expect(await store.get(ID)).toMatchObject({
      id: ID,
      subject: 'Fête',
      sizeBytes: mail.sizeBytes,
      digest: mail.digest,
    })
  },
)

test('lets nobody else read it', async () => {
  await store.put(record(), message(MAIL), never)
  const modes = await Promise.all(
    ['', 'A', 'tmp', `A/spam-${ID}.eml`].map(
      async (path) => (await lstat(join(directory, path))).mode & 0o777,
    ),
  )
  expect(modes).toEqual([0o700, 0o700, 0o700, 0o600])
})

test.each(['\r\n', '', ' folded\r\n', 'X-Ecluse-Quarantine: v=1; header-bytes=0000000009;\r\n {}\r\n\r\nx'])(
  'gives back an original that begins with %j',
  async (text) => {
    await store.put(record(), message(text), never)
    expect(await original(ID)).toEqual(Buffer.from(text))
  },
)

test('does not write the same message twice, nor another under the same id', async () => {
  await store.put(record(), message(MAIL), never)
  const before = await lstat(join(directory, `A/spam-${ID}.eml`))
  await store.put(record(), message(MAIL), never)
  await store.put(record({ assessment: VIRUS }), message(MAIL), never)
  expect((await lstat(join(directory, `A/spam-${ID}.eml`))).ino).toBe(before.ino)
  expect(await tree()).toEqual(['A', `A/spam-${ID}.eml`, 'tmp'])
  await expect(store.put(record(), message('other'), never)).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  expect(await original(ID)).toEqual(Buffer.from(MAIL))
})

test('keeps 50 at the same time, the same one among them', async () => {
  await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const id = numbered(index % 45)
      const mail = message(`${MAIL}${id}`, { id, stream: index % 2 === 0 })
      await store.put(record({ id }), mail, new AbortController().signal)
    }),
  )
  const ids = await listed()
  expect(ids.sort()).toEqual(Array.from({ length: 45 }, (_, index) => numbered(index)).sort())
  for (const id of ids) expect((await original(id)).toString()).toBe(`${MAIL}${id}`)
  expect(await readdir(join(directory, 'tmp'))).toEqual([])
})

test('lists the newest first, by category and age', async () => {
  const day = (date: number): Date => new Date(Date.UTC(2026, 10, date))
  const stored = [3, 1, 4, 2].map((date) => ({ id: numbered(date), storedAt: day(date) }))
  for (const { id, storedAt } of stored) {
    const assessment = id === numbered(2) ? { assessment: VIRUS } : {}
    await store.put(record({ id, storedAt, ...assessment }), message(MAIL, { id }), never)
  }
  expect(await listed()).toEqual([4, 3, 2, 1].map(numbered))
  expect(await listed({ categories: ['spam'] })).toEqual([4, 3, 1].map(numbered))
  expect(await listed({ storedBefore: day(3) })).toEqual([2, 1].map(numbered))
  expect(await listed({ categories: [] })).toEqual([])
})

test('lists a message with more fields than one read gives, and reads no more than them', async () => {
  const recipients = Array.from({ length: 1000 }, (_, index) => ({ address: `user${index}@example.org` }))
  await store.put(record({ envelope: envelope({ recipients }) }), message(MAIL), never)
  expect((await store.get(ID)).envelope.recipients).toEqual(recipients)
  expect(await original(ID)).toEqual(Buffer.from(MAIL))
})

test('shows nothing of a message that was being written when the process was killed', async () => {
  const dead = `${ID}.abc.2147483646@${hostname()}`
  const ours = `${ID}.abc.${process.pid}@${hostname()}`
  const alive = `${ID}.abc.1@${hostname()}`
  const elsewhere = `${ID}.abc.1@elsewhere`
  const abandoned = `${ID}.abc.2@elsewhere`
  for (const name of [dead, ours, alive, elsewhere, abandoned]) {
    await writeFile(join(directory, 'tmp', name), 'Return-Path: <half')
  }
  await utimes(join(directory, 'tmp', abandoned), 1, 1)
  expect(await listed()).toEqual([])
  expect(await store.usage()).toEqual({ files: 0, bytes: 0 })
  await createFileStore(directory).prepare()
  expect((await readdir(join(directory, 'tmp'))).sort()).toEqual([alive, elsewhere].sort())
})

/** Fails or ends at the given byte, as a spool file does that is damaged. */
function broken(at: number, error?: Error): Message {
  const { bytes: whole = Buffer.alloc(0), ...mail } = message(MAIL)
  async function* chunks(): AsyncGenerator<Buffer> {
    yield whole.subarray(0, at)
    if (error) throw error
  }
  return { ...mail, open: () => Readable.from(chunks(), { objectMode: false }) }
}

test.each([
  ['its source fails', broken(10, new Error('disk'))],
  ['its source ends early', broken(10)],
  ['its bytes are too few', { ...message(MAIL), sizeBytes: 999 }],
])('leaves nothing of a message when %s', async (_, mail) => {
  await expect(store.put(record(), mail, never)).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  expect((await tree()).filter((name) => name.includes(ID))).toEqual([])
  await store.put(record(), message(MAIL), never)
  expect(await listed()).toEqual([ID])
})

test('leaves nothing of a message when the signal aborts, and frees the source', async () => {
  const controller = new AbortController()
  const source = new Readable({ read() {} })
  source.push('From: a@x\r\n')
  const { bytes: _, ...mail } = message(MAIL)
  const put = store.put(record(), { ...mail, open: () => source }, controller.signal)
  // All that there is was written: it waits for more.
  for (let written = ''; !written.endsWith('From: a@x\r\n');) {
    const [name] = await readdir(join(directory, 'tmp'))
    if (name !== undefined) written = await readFile(join(directory, 'tmp', name), 'latin1')
  }
  controller.abort()
  await expect(put).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  expect(source.destroyed).toBe(true)
  expect((await tree()).filter((name) => name.includes(ID))).toEqual([])
  await expect(store.put(record(), message(MAIL), controller.signal)).rejects.toMatchObject({
    code: 'E_QUARANTINE',
  })
  expect(await listed()).toEqual([])
})

const BAD_IDS = [
  '',
  '../../../etc',
  'A/../../etc/x',
  'Abc-123_xyZ',
  'Abc-123_xyZ99',
  'Abc-123_xyZ\n',
  'Abc\u0000123_xyZ9',
]

test.each(BAD_IDS)('refuses the id %j before it touches the disk', async (id) => {
  const failure = expect.objectContaining({
    code: 'E_QUARANTINE',
    message: expect.stringContaining('is not an id'),
  })
  await expect(store.put(record({ id }), message(MAIL), never)).rejects.toEqual(failure)
  await expect(store.get(id)).rejects.toEqual(failure)
  await expect(store.open(id)).rejects.toEqual(failure)
  await expect(store.delete(id)).rejects.toEqual(failure)
  expect(await tree()).toEqual(['tmp'])
})

test('says that there is none of an id, before and after it is deleted', async () => {
  const failure = { code: 'E_QUARANTINE', message: `${ID}: is not in quarantine` }
  await expect(store.get(ID)).rejects.toMatchObject(failure)
  await store.put(record(), message(MAIL), never)
  const opened = await store.open(ID)
  await store.delete(ID)
  await expect(store.delete(ID)).rejects.toMatchObject(failure)
  await expect(store.open(ID)).rejects.toMatchObject(failure)
  await expect(buffer(opened.open())).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  expect(await listed()).toEqual([])
})

test('releases nothing of a file that is not whole any more', async () => {
  await store.put(record(), message(MAIL), never)
  const path = join(directory, `A/spam-${ID}.eml`)
  const opened = await store.open(ID)
  await truncate(path, (await lstat(path)).size - 1)
  await expect(buffer(opened.open())).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  await expect(store.open(ID)).rejects.toMatchObject({ message: `${ID}: the message is not whole` })
  expect(await listed()).toEqual([ID])
})

test('passes over what is not a file of its own, and tells of damaged ones', async () => {
  const shard = join(directory, 'A')
  await mkdir(shard)
  await store.put(record(), message(MAIL), never)
  await writeFile(join(shard, 'README'), 'x')
  await writeFile(join(directory, 'notes.eml'), 'x')
  await mkdir(join(shard, 'spam-A00000000001.eml'))
  await symlink('/etc/passwd', join(shard, 'spam-A00000000002.eml'))
  await writeFile(join(shard, 'spam-B00000000003.eml'), 'wrong folder')
  await writeFile(join(shard, 'spam-A00000000004.eml'), 'not ours')
  await link(join(shard, `spam-${ID}.eml`), join(shard, 'spam-A00000000005.eml'))
  await symlink('/etc', join(directory, 'B'))
  const damaged: unknown[] = []
  expect(await listed({}, { onDamaged: (error) => damaged.push(error) })).toEqual([ID])
  expect(damaged.map(String).sort()).toEqual([
    `FilterError: ${shard}/spam-A00000000004.eml: is not a file of the quarantine`,
    `FilterError: ${shard}/spam-A00000000005.eml: has the fields of another message`,
  ])
  await expect(store.put(record({ id: 'B00000000001' }), message(MAIL), never)).rejects.toMatchObject({
    code: 'E_QUARANTINE',
    message: expect.stringContaining('is not a folder'),
  })
})

test('may itself be a symbolic link, as administrators set them', async () => {
  const path = join(directory, '../link')
  await symlink(directory, path)
  store = createFileStore(path)
  await store.prepare()
  await store.put(record(), message(MAIL), never)
  expect(await listed()).toEqual([ID])
})

test('counts what is kept, and sees what other processes add and delete', async () => {
  const other = createFileStore(directory)
  const bytes = async (): Promise<number> => (await store.usage()).bytes
  expect(await store.usage()).toEqual({ files: 0, bytes: 0 })
  await store.put(record(), message(MAIL), never)
  const size = (await lstat(join(directory, `A/spam-${ID}.eml`))).size
  expect(await store.usage()).toEqual({ files: 1, bytes: size })
  // Settled: the folder changed long ago, so that the count is remembered.
  await utimes(join(directory, 'A'), 1000, 1000)
  expect(await bytes()).toBe(size)
  await other.put(record({ id: numbered(0) }), message(MAIL, { id: numbered(0) }), never)
  expect((await store.usage()).files).toBe(2)
  await other.delete(ID)
  await other.delete(numbered(0))
  expect(await store.usage()).toEqual({ files: 0, bytes: 0 })
})

test('goes on when the folder was removed and made anew under it', async () => {
  await store.put(record(), message(MAIL), never)
  await rm(directory, { recursive: true })
  await expect(store.put(record(), message(MAIL), never)).rejects.toMatchObject({
    code: 'E_QUARANTINE',
    hint: expect.stringContaining('does not exist'),
  })
  await mkdir(directory)
  await store.put(record(), message(MAIL), never)
  expect(await listed()).toEqual([ID])
})

test('says what is wrong with a folder that is a file', async () => {
  const path = join(directory, 'file')
  await writeFile(path, '')
  await expect(createFileStore(path).prepare()).rejects.toMatchObject({ code: 'E_QUARANTINE' })
  await expect(createFileStore(join(path, 'q')).prepare()).rejects.toMatchObject({
    code: 'E_QUARANTINE',
    message: `${path}/q: cannot be used: ENOTDIR`,
    hint: 'quarantine.directory is not a folder',
    cause: expect.objectContaining({ code: 'ENOTDIR' }),
  })
})

// oxlint-disable jest/no-standalone-expect -- it is a test, where we are root
const asRoot = process.geteuid?.() === 0 ? test : test.skip

asRoot('says whose the folder must be (skipped without root: needs another user)', async () => {
  await store.put(record(), message(MAIL), never)
  const failure = { code: 'E_QUARANTINE', hint: expect.stringContaining('must belong to the user') }
  await chmod(join(directory, '..'), 0o755)
  process.seteuid?.(65_534)
  try {
    await expect(store.put(record(), message(MAIL), never)).rejects.toMatchObject(failure)
    await expect(store.prepare()).rejects.toMatchObject(failure)
    await expect(store.get(ID)).rejects.toMatchObject(failure)
    await expect(listed()).rejects.toMatchObject(failure)
    await expect(store.usage()).rejects.toMatchObject(failure)
  } finally {
    process.seteuid?.(0)
  }
})

/** Whether we may mount a file system: root with CAP_SYS_ADMIN, on Linux. */
function canMount(): boolean {
  const path = mkdtempSync(join(tmpdir(), 'ecluse-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path], { stdio: 'ignore' })
    execFileSync('umount', [path])
    return true
  } catch {
    // Whatever the reason: the test that needs it is skipped.
    return false
  } finally {
    rmdirSync(path)
  }
}

const withMount = canMount() ? test : test.skip

withMount(
  'says that the disk is full, or read-only (skipped where no file system can be mounted)',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory])
    try {
      const large = message(Buffer.alloc(100_000), { stream: true })
      await expect(store.put(record(), large, never)).rejects.toMatchObject({
        message: `${ID}: cannot be kept in ${directory}: ENOSPC`,
        hint: expect.stringContaining('the disk is full'),
      })
      expect(await tree()).toEqual(['A', 'tmp'])
      await store.put(record(), message(MAIL), never)
      await store.check()
      execFileSync('mount', ['-o', 'remount,ro', directory])
      const failure = { code: 'E_QUARANTINE', hint: expect.stringContaining('read-only') }
      await expect(store.check()).rejects.toMatchObject(failure)
      await expect(store.prepare()).rejects.toMatchObject(failure)
      await expect(store.delete(ID)).rejects.toMatchObject(failure)
      await expect(store.put(record({ id: numbered(1) }), message(MAIL), never)).rejects.toMatchObject(
        failure,
      )
      expect(await original(ID)).toEqual(Buffer.from(MAIL))
    } finally {
      execFileSync('umount', [directory])
    }
  },
)
// oxlint-enable jest/no-standalone-expect

test('holds a few chunks of a message of 30 MB, not all of it', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const count = 30
  let given = 0
  let most = 0
  const source = (): Readable =>
    new Readable({
      read() {
        if (given % 5 === 0) collect()
        most = Math.max(most, process.memoryUsage().arrayBuffers)
        this.push(given++ < count ? Buffer.alloc(1024 * 1024, given) : null)
      },
    })
  collect()
  const before = process.memoryUsage().arrayBuffers
  const mail = { id: ID, sizeBytes: count << 20, digest: 'd', header: Buffer.alloc(0), open: source }
  await store.put(record(), mail, never)
  let size = 0
  for await (const part of (await store.open(ID)).open()) {
    size += (part as Buffer).length
    if (size % (5 << 20) === 0) collect()
    most = Math.max(most, process.memoryUsage().arrayBuffers)
  }
  expect(size).toBe(count << 20)
  // Of 30: what V8 has not collected yet is among them.
  expect(most - before).toBeLessThan(24 << 20)
})
