import { constants } from 'node:fs'
import { open, writeFile, type FileHandle } from 'node:fs/promises'
import { addAbortSignal, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { FilterError, type Message } from '@ecluse/core'
import { headerSubject } from '@ecluse/mail'
import { formatFields, readFields, type ReadFields } from './fields.ts'
import type { StoredFile } from './folders.ts'
import { packer, unpacker, type Packing } from './packing.ts'
import type { QuarantineRecord } from './record.ts'
import { notWhole, storeError } from './storeError.ts'

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants
// The fields of a message with a few recipients; more is read only where they say so.
const FIRST_READ_BYTES = 16 * 1024
// 1,000 recipients with addresses of the greatest length stay far below.
const MAX_FIELD_BYTES = 16 * 1024 * 1024

/** A message and what is to be said of it. */
export interface ToKeep {
  readonly record: QuarantineRecord
  readonly message: Message
}

/** A message that is on the disk. */
export interface Written {
  /** The fields that stand in front. */
  readonly fields: Buffer
  /** Of the file. */
  readonly fileBytes: number
}

/** Writes fields and message, and makes them durable. The file is closed. */
export async function writeMessage(
  file: FileHandle,
  { record, message, packing }: ToKeep & { readonly packing: Packing },
  signal: AbortSignal,
): Promise<Written> {
  try {
    const { sizeBytes, digest } = message
    const subject = headerSubject(message.header)
    const fields = formatFields(record, { sizeBytes, digest, ...(subject !== undefined && { subject }) })
    const chunks = contents(fields, message, signal)
    const packed = packer(packing)
    if (packed === undefined) await writeFile(file, chunks, { signal })
    else await both(pipeline(chunks, packed), writeFile(file, packed, { signal }))
    await file.sync()
    const fileBytes = packed === undefined ? fields.length + sizeBytes : (await file.stat()).size
    return { fields, fileBytes }
  } finally {
    await file.close()
  }
}

/** Waits for both, whatever becomes of one: neither may use the file any more. */
async function both(...work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

/** The fields, then the message; never more than one chunk is held. */
async function* contents(fields: Buffer, message: Message, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { id, sizeBytes } = message
  if (message.bytes !== undefined) {
    if (message.bytes.length !== sizeBytes) throw notWhole(id)
    yield Buffer.concat([fields, message.bytes])
    return
  }
  yield fields
  let sent = 0
  for await (const chunk of addAbortSignal(signal, message.open()) as AsyncIterable<Buffer>) {
    sent += chunk.length
    yield chunk
  }
  if (sent !== sizeBytes) throw notWhole(id)
}

/**
 * Reads the fields only, however large the message is.
 *
 * @throws FilterError E_QUARANTINE for a file that is not one of ours; the error of the system call.
 */
export async function readFront(stored: StoredFile): Promise<ReadFields> {
  try {
    const fields = stored.packing === 'none' ? await frontOf(stored.path) : await packedFront(stored)
    if (fields.entry.id === stored.id) return fields
    throw new FilterError('E_QUARANTINE', 'has the fields of another message')
  } catch (err) {
    if (!(err instanceof FilterError)) throw err
    throw new FilterError('E_QUARANTINE', `${stored.path}: ${err.message}`, { cause: err })
  }
}

async function frontOf(path: string): Promise<ReadFields> {
  const file = await openFile(path)
  try {
    let wanted = FIRST_READ_BYTES
    for (;;) {
      const bytes = await readBytes(file, Math.min(wanted, MAX_FIELD_BYTES))
      const fields = readFields(bytes)
      if (typeof fields !== 'number') return fields
      if (bytes.length < wanted) throw lostFields()
      wanted = fields
    }
  } finally {
    await file.close()
  }
}

async function packedFront(stored: StoredFile): Promise<ReadFields> {
  let bytes: Buffer = Buffer.alloc(0)
  let wanted = 0
  for await (const chunk of unpacked(stored)) {
    bytes = Buffer.concat([bytes, chunk])
    if (bytes.length > MAX_FIELD_BYTES) break
    if (bytes.length < wanted) continue
    const fields = readFields(bytes)
    if (typeof fields !== 'number') return fields
    wanted = Math.min(fields, bytes.length * 2)
  }
  throw lostFields()
}

/** All bytes of the file, unpacked, the fields included. */
async function* unpacked({ path, packing }: StoredFile): AsyncGenerator<Buffer> {
  const file = await openFile(path)
  try {
    const source = file.createReadStream({ autoClose: false })
    const stream = unpacker(packing)
    if (stream === undefined) {
      yield* source
      return
    }
    // What goes wrong with the source, and a reader that has enough, ends both.
    const done = pipeline(source, stream)
    done.catch(() => undefined)
    yield* stream as AsyncIterable<Buffer>
    await done
  } catch (err) {
    if (isUnpackError(err)) throw new FilterError('E_QUARANTINE', 'cannot be unpacked', { cause: err })
    throw err
  } finally {
    await file.close()
  }
}

function isUnpackError(err: unknown): boolean {
  const { code }: { code?: unknown } = typeof err === 'object' && err !== null ? err : {}
  return typeof code === 'string' && /^(?:Z_|ERR_ZLIB|ZSTD_)/.test(code)
}

/** The original behind the fields. It fails with E_QUARANTINE where the file is not as long as it was. */
async function* original(stored: StoredFile, { headerBytes, entry }: ReadFields): AsyncGenerator<Buffer> {
  const { id, sizeBytes } = entry
  const packed = stored.packing !== 'none'
  let skip = packed ? headerBytes : 0
  let left = skip + sizeBytes
  try {
    for await (const chunk of packed ? unpacked(stored) : plain(stored, headerBytes)) {
      left -= chunk.length
      if (left < 0) throw notWhole(id)
      const begin = Math.min(skip, chunk.length)
      skip -= begin
      if (begin < chunk.length) yield chunk.subarray(begin)
    }
  } catch (err) {
    throw storeError(err, `${id}: cannot be read`)
  }
  if (left !== 0) throw notWhole(id)
}

/** From the fields on. */
async function* plain({ path, id, sizeBytes }: StoredFile, start: number): AsyncGenerator<Buffer> {
  const file = await openFile(path)
  try {
    if ((await file.stat()).size !== sizeBytes) throw notWhole(id)
    yield* file.createReadStream({ start, autoClose: false })
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

function lostFields(): FilterError {
  return new FilterError('E_QUARANTINE', 'has lost its fields')
}

/** Reader of the original of a file whose fields are read. */
export function openMessage(stored: StoredFile, fields: ReadFields): Readable {
  return Readable.from(original(stored, fields), { objectMode: false })
}
