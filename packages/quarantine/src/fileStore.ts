import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rename, rm, unlink, writeFile, type FileHandle } from 'node:fs/promises'
import { addAbortSignal, Readable } from 'node:stream'
import { CATEGORIES, failpoint, FilterError, type Message } from '@ecluse/core'
import { headerSubject } from '@ecluse/mail'
import { formatFields, readFields, type ReadFields } from './fields.ts'
import { createFolders, type Folders, type StoredFile } from './folders.ts'
import type { QuarantineEntry, QuarantineRecord } from './record.ts'
import type { QuarantinedMessage, QuarantineFilter, QuarantineStore } from './store.ts'
import { codeOf, storeError } from './storeError.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants
const ID = /^[A-Za-z0-9_-]{12}$/
// The fields of a message with a few recipients; more is read only where they say so.
const FIRST_READ_BYTES = 16 * 1024
// 1,000 recipients with addresses of the greatest length stay far below.
const MAX_FIELD_BYTES = 16 * 1024 * 1024

/**
 * Keeps each message in a file `X/CATEGORY-ID.eml`, X being the first character of the id. Names are made of our own
 * id and category only. Files have mode 0600, folders 0700; no symbolic link below `directory` is followed.
 */
export function createFileStore(directory: string): QuarantineStore {
  const folders = createFolders(directory)
  return {
    prepare: () => within(`${directory}: cannot be used`, () => folders.prepare()),
    check: () => within(`${directory}: cannot be used`, () => folders.check()),
    put: (record, message, signal) =>
      within(`${record.id}: cannot be kept in ${directory}`, () => put(folders, { record, message }, signal)),
    list: (filter = {}) => list(folders, directory, filter),
    get: async (id) => (await find(folders, id)).entry,
    open: (id) => openOriginal(folders, id),
    delete: (id) => remove(folders, id),
    usage: () => within(`${directory}: cannot be counted`, () => folders.usage()),
  }
}

async function within<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (err) {
    throw storeError(err, what)
  }
}

async function put(
  folders: Folders,
  { record, message }: { readonly record: QuarantineRecord; readonly message: Message },
  signal: AbortSignal,
): Promise<void> {
  const { id, category, storedAt } = record
  checkId(id)
  const kept = await folders.find(id)
  if (kept !== undefined) {
    const { entry } = await readFront(kept)
    if (entry.digest !== message.digest) {
      throw new FilterError('E_QUARANTINE', `${id}: another message is kept under this id`)
    }
    // Whoever wrote it may have been killed between the rename and this.
    await folders.sync(id)
    return
  }
  const place = await folders.place(id, category)
  const temp = await folders.tempPath(`${id}.${randomBytes(6).toString('hex')}`)
  const file = await open(temp, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
  try {
    await writeDurably(file, { chunks: contents(record, message, signal), storedAt }, signal)
    failpoint('K11-quarantine-written')
    await rename(temp, place)
  } catch (err) {
    // Nobody sees a temporary file: one that cannot be removed now is removed by prepare().
    await rm(temp, { force: true }).catch(() => undefined)
    throw err
  }
  failpoint('K12-quarantine-renamed')
  await folders.sync(id)
}

async function writeDurably(
  file: FileHandle,
  content: { readonly chunks: AsyncIterable<Buffer>; readonly storedAt: Date },
  signal: AbortSignal,
): Promise<void> {
  try {
    await writeFile(file, content.chunks, { signal })
    await file.utimes(content.storedAt, content.storedAt)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The fields, then the message; never more than one chunk is held. */
async function* contents(
  record: QuarantineRecord,
  message: Message,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const { sizeBytes, digest } = message
  const subject = headerSubject(message.header)
  const fields = formatFields(record, { sizeBytes, digest, ...(subject !== undefined && { subject }) })
  if (message.bytes !== undefined) {
    if (message.bytes.length !== sizeBytes) throw notWhole(record.id)
    yield Buffer.concat([fields, message.bytes])
    return
  }
  yield fields
  let sent = 0
  for await (const chunk of addAbortSignal(signal, message.open()) as AsyncIterable<Buffer>) {
    sent += chunk.length
    yield chunk
  }
  if (sent !== sizeBytes) throw notWhole(record.id)
}

async function* list(
  folders: Folders,
  directory: string,
  { categories = CATEGORIES, storedBefore, onDamaged }: QuarantineFilter,
): AsyncGenerator<QuarantineEntry> {
  const files = await within(`${directory}: cannot be listed`, () => folders.files())
  const wanted = files.filter(({ category }) => categories.includes(category))
  // Files carry the time of storing as their time of change: no need to open them all before the first is shown.
  for (const file of wanted.sort((a, b) => b.mtimeMs - a.mtimeMs || (a.id < b.id ? -1 : 1))) {
    try {
      const { entry } = await readFront(file)
      if (storedBefore === undefined || entry.storedAt < storedBefore) yield entry
    } catch (err) {
      if (codeOf(err) !== 'ENOENT') onDamaged?.(err)
    }
  }
}

async function find(folders: Folders, id: string): Promise<ReadFields & { readonly file: StoredFile }> {
  return await within(`${id}: cannot be read`, async () => {
    checkId(id)
    const file = await folders.find(id)
    if (file === undefined) throw unknownId(id)
    return { ...(await readFront(file)), file }
  })
}

async function openOriginal(folders: Folders, id: string): Promise<QuarantinedMessage> {
  const { entry, headerBytes, file } = await find(folders, id)
  const { sizeBytes } = entry
  if (file.sizeBytes !== headerBytes + sizeBytes) throw notWhole(id)
  return {
    entry,
    sizeBytes,
    open: () => Readable.from(original(file, headerBytes), { objectMode: false }),
  }
}

async function* original({ path, id, sizeBytes }: StoredFile, start: number): AsyncGenerator<Buffer> {
  try {
    const file = await openFile(path)
    try {
      if ((await file.stat()).size !== sizeBytes) throw notWhole(id)
      yield* file.createReadStream({ start, autoClose: false })
    } finally {
      await file.close()
    }
  } catch (err) {
    throw storeError(err, `${id}: cannot be read`)
  }
}

async function remove(folders: Folders, id: string): Promise<void> {
  await within(`${id}: cannot be deleted`, async () => {
    checkId(id)
    const file = await folders.find(id)
    if (file === undefined) throw unknownId(id)
    await unlink(file.path)
    await folders.sync(id)
  })
}

/** Reads the fields only, however large the message is. */
async function readFront(stored: StoredFile): Promise<ReadFields> {
  const file = await openFile(stored.path)
  try {
    let wanted = FIRST_READ_BYTES
    for (;;) {
      const bytes = await readBytes(file, Math.min(wanted, MAX_FIELD_BYTES))
      const fields = readFields(bytes)
      if (typeof fields !== 'number') {
        if (fields.entry.id === stored.id) return fields
        throw new FilterError('E_QUARANTINE', 'has the fields of another message')
      }
      if (bytes.length < wanted) throw new FilterError('E_QUARANTINE', 'has lost its fields')
      wanted = fields
    }
  } catch (err) {
    if (err instanceof FilterError) {
      throw new FilterError('E_QUARANTINE', `${stored.path}: ${err.message}`, { cause: err })
    }
    throw err
  } finally {
    await file.close()
  }
}

/** A FIFO or device under the name of a file must not make us wait: hence O_NONBLOCK. */
async function openFile(path: string): Promise<FileHandle> {
  return await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
}

/** The first bytes; fewer where the file ends. */
async function readBytes(file: FileHandle, count: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(count)
  let have = 0
  while (have < count) {
    const { bytesRead } = await file.read(bytes, have, count - have, have)
    if (bytesRead === 0) break
    have += bytesRead
  }
  return bytes.subarray(0, have)
}

function checkId(id: string): void {
  if (ID.test(id)) return
  throw new FilterError('E_QUARANTINE', `${JSON.stringify(id.slice(0, 64))}: is not an id`, {
    hint: '12 characters, as `ecluse quarantine list` shows them',
  })
}

function unknownId(id: string): FilterError {
  return new FilterError('E_QUARANTINE', `${id}: is not in quarantine`, {
    hint: 'see `ecluse quarantine list`',
  })
}

function notWhole(id: string): FilterError {
  return new FilterError('E_QUARANTINE', `${id}: the message is not whole`)
}
