import { createHash, hash, randomFillSync, type Hash } from 'node:crypto'
import { open, readdir, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { FilterError, splitHeader, systemErrorName, type Message, type MessageContent } from '@ecluse/core'
import { MAX_HEADER_BYTES, findHeaderEnd, type HeaderEnd } from './header.ts'

/** Where messages are, and from which size on in a file. */
export interface SpoolOptions {
  readonly directory: string
  /** A message up to this size stays in memory, a larger one goes to a file. */
  readonly memoryBytes: number
  /** Whether `content` of messages will be asked for; absent: never of those in files, that cost it while they come in. */
  readonly wantsContent?: () => boolean
}

/** A message in the spool. It goes when its owner says so, or with the process. */
export interface SpooledMessage extends Message {
  /** Frees memory and file. Readers still open fail; none may be opened any more. */
  discard(): Promise<void>
}

/** Takes one message as it arrives. */
export interface SpoolWriter {
  /** The id that the message will have, and keeps where it cannot be stored. */
  readonly id: string
  /** Takes a chunk. A promise: wait for it before the next one. */
  write(chunk: Buffer): Promise<void> | undefined
  /**
   * The message is whole.
   *
   * @throws FilterError E_SPOOL when its bytes could not be stored; nothing is left behind then.
   */
  finish(): Promise<SpooledMessage>
  /** The message will not be whole: frees everything. */
  discard(): Promise<void>
}

/** Holds messages while they are looked at. */
export interface Spool {
  /**
   * Removes what a killed process left, once, at the start.
   *
   * @throws FilterError E_SPOOL
   */
  prepare(): Promise<void>
  /**
   * Writes a file that has no name, and removes it.
   *
   * @throws FilterError E_SPOOL
   */
  check(): Promise<void>
  create(): SpoolWriter
}

/** One write to the file at a time; what arrives meanwhile waits in memory, up to this much. */
const WRITE_BEHIND_BYTES = 256 * 1024
const READ_BYTES = 128 * 1024

const FOLDER_HINT = 'create it, owned by the user that Écluse runs as: spool.directory'
const HINTS: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'its file system is full: make room, or move spool.directory'],
  ['EDQUOT', 'the quota of our user is used up'],
  ['EROFS', 'its file system is read-only'],
  ['EMFILE', 'too many open files: LimitNOFILE= of the unit, above limits.connections'],
  ['ENFILE', 'the system has too many open files: fs.file-max'],
])
/** A block: what is still free on a full file system is less. */
const PROBE = Buffer.alloc(4096)

/** Names alone say nothing about a full or a broken disk. */
async function tryToWrite(path: string): Promise<void> {
  const handle = await open(path, 'wx', 0o600)
  try {
    await removeName(path)
    await handle.writeFile(PROBE)
  } finally {
    await handle.close()
  }
}

/** A spool in one folder; nothing is touched before `prepare`. */
export function createSpool(options: SpoolOptions): Spool {
  const { directory } = options
  const attempt = async (action: () => Promise<void>): Promise<void> => {
    try {
      await action()
    } catch (cause) {
      const code = systemErrorName(cause) ?? ''
      const hint = HINTS.get(code) ?? FOLDER_HINT
      throw new FilterError('E_SPOOL', `${directory}: cannot be written: ${code}`, { cause, hint })
    }
  }
  const probe = async (): Promise<void> => await tryToWrite(join(directory, `${newMessageId()}.eml`))
  return {
    check: async () => await attempt(probe),
    prepare: async () =>
      await attempt(async () => {
        const names = await readdir(directory)
        // First: they may be what fills the disk.
        await Promise.all(names.filter(isSpoolFile).map((name) => removeName(join(directory, name))))
        await probe()
      }),
    create: () => new Writer(options),
  }
}

const ID_BYTES = 9
/** Random bytes for many ids at a time: asking the system for each costs more than all the rest of an id. */
const randomPool = Buffer.alloc(ID_BYTES * 500)
let poolUsed = randomPool.length

/** 72 random bits as 12 characters of base64url; beginning and ending alphanumeric, as amavisd's mail_id. */
export function newMessageId(): string {
  for (;;) {
    if (poolUsed === randomPool.length) {
      randomFillSync(randomPool)
      poolUsed = 0
    }
    const id = randomPool.toString('base64url', poolUsed, poolUsed + ID_BYTES)
    poolUsed += ID_BYTES
    if (/^[0-9A-Za-z].*[0-9A-Za-z]$/.test(id)) return id
  }
}

const isSpoolFile = (name: string): boolean => /^[\w-]{12}\.eml$/.test(name)

async function removeName(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    // Another instance in the same folder took its own file's name away first.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

interface SpoolFile {
  readonly digest: Hash
  /** Absent: it is not wanted, or the same as `digest`. */
  readonly content?: ContentHash
  readonly header: Buffer
  readonly end: HeaderEnd
  handle?: FileHandle
}

class Writer implements SpoolWriter {
  readonly #options: SpoolOptions
  readonly id = newMessageId()
  #sizeBytes = 0
  /** In memory: everything. In a file: what waits to be written. */
  #chunks: Buffer[] = []
  #waitingBytes = 0
  #file: SpoolFile | undefined
  #writing: Promise<void> | undefined
  #failure: FilterError | undefined

  constructor(options: SpoolOptions) {
    this.#options = options
  }

  write(chunk: Buffer): Promise<void> | undefined {
    this.#sizeBytes += chunk.length
    // After a failure the rest of the message only has to be taken off the wire.
    if (this.#failure) return undefined
    this.#chunks.push(chunk)
    this.#waitingBytes += chunk.length
    if (!this.#file) {
      if (this.#sizeBytes <= this.#options.memoryBytes) return undefined
      this.#moveToFile()
    } else {
      this.#file.digest.update(chunk)
      this.#file.content?.hash.update(chunk)
    }
    if (!this.#writing) this.#writing = this.#flush()
    return this.#waitingBytes > WRITE_BEHIND_BYTES ? this.#writing : undefined
  }

  async finish(): Promise<SpooledMessage> {
    const file = this.#file
    if (!file) return memoryMessage(this.id, joined(this.#chunks, this.#sizeBytes))
    while (this.#writing) await this.#writing
    if (this.#failure || !file.handle) {
      await this.discard()
      throw this.#failure ?? new FilterError('E_SPOOL', 'no spool file')
    }
    const digest = file.digest.digest('hex')
    const content = file.content && { digest: file.content.hash.digest('hex'), trace: file.content.trace }
    return fileMessage(file.handle, {
      id: this.id,
      sizeBytes: this.#sizeBytes,
      digest,
      ...(this.#options.wantsContent?.() && { content: () => content ?? { digest, trace: [] } }),
      header: file.end.certain ? file.header : await this.#readLongHeader(file.handle),
    })
  }

  /** A header longer than what is kept in memory is read again from the file. */
  async #readLongHeader(handle: FileHandle): Promise<Buffer> {
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_HEADER_BYTES), 0, MAX_HEADER_BYTES, 0)
      return buffer.subarray(0, findHeaderEnd(buffer.subarray(0, bytesRead)).length)
    } catch (cause) {
      await this.discard()
      throw new FilterError('E_SPOOL', 'cannot read the spool file', { cause })
    }
  }

  async discard(): Promise<void> {
    this.#chunks = []
    this.#waitingBytes = 0
    while (this.#writing) await this.#writing
    const handle = this.#file?.handle
    if (handle) {
      delete this.#file?.handle
      await handle.close()
    }
  }

  #moveToFile(): void {
    const digest = createHash('sha256')
    for (const chunk of this.#chunks) digest.update(chunk)
    const start = Buffer.concat(this.#chunks)
    const end = findHeaderEnd(start)
    const isWanted = end.certain && this.#options.wantsContent?.() === true
    const content = isWanted ? startContentHash(start, end.length) : undefined
    // A copy, so that a small header does not keep the whole start of the message in memory.
    const header = Buffer.from(start.subarray(0, end.length))
    this.#file = { digest, end, header, ...(content && { content }) }
  }

  /** Writes until nothing waits. Never rejects: a failure is told by `finish`. */
  async #flush(): Promise<void> {
    try {
      while (this.#chunks.length > 0) {
        const batch = this.#chunks
        this.#chunks = []
        this.#waitingBytes = 0
        const handle = await this.#openFile()
        await writeAll(handle, batch)
      }
    } catch (cause) {
      this.#chunks = []
      this.#waitingBytes = 0
      this.#failure = new FilterError('E_SPOOL', `${this.#options.directory}: cannot write`, { cause })
    } finally {
      this.#writing = undefined
    }
  }

  async #openFile(): Promise<FileHandle> {
    const file = this.#file
    if (!file) throw new TypeError('the message is in memory')
    if (!file.handle) {
      const path = join(this.#options.directory, `${this.id}.eml`)
      file.handle = await open(path, 'wx+', 0o600)
      // Without a name, the file goes with the process, however that ends.
      await removeName(path)
    }
    return file.handle
  }
}

/** A digest of what is the same in all copies. */
interface ContentHash {
  readonly hash: Hash
  readonly trace: readonly string[]
}

/** @returns absent: there is nothing to leave out, the digest of all bytes is the one */
function startContentHash(start: Buffer, headerLength: number): ContentHash | undefined {
  const split = splitHeader(start.subarray(0, headerLength))
  if (!split || split.trace.length === 0) return undefined
  const hash = createHash('sha256')
  for (const piece of split.kept) hash.update(piece)
  hash.update(start.subarray(headerLength))
  return { hash, trace: split.trace }
}

/** Of a message in memory. */
function contentOf(bytes: Buffer, header: Buffer, digest: string): MessageContent {
  const split = splitHeader(header)
  if (!split || split.trace.length === 0) return { digest, trace: [] }
  const kept = Buffer.concat([...split.kept, bytes.subarray(header.length)])
  return { digest: hash('sha256', kept, 'hex'), trace: split.trace }
}

async function writeAll(handle: FileHandle, batch: readonly Buffer[]): Promise<void> {
  const wanted = batch.reduce((sum, chunk) => sum + chunk.length, 0)
  const { bytesWritten } = await handle.writev(batch)
  if (bytesWritten === wanted) return
  // A short write, as on a full disk: the rest gives the error that says why.
  await handle.appendFile(Buffer.concat(batch).subarray(bytesWritten))
}

/** A small message comes in one piece, mostly: no copy is made then. */
function joined(chunks: readonly Buffer[], sizeBytes: number): Buffer {
  const [first] = chunks
  return chunks.length === 1 && first ? first : Buffer.concat(chunks, sizeBytes)
}

function memoryMessage(id: string, bytes: Buffer): SpooledMessage {
  const digest = hash('sha256', bytes, 'hex')
  const header = bytes.subarray(0, findHeaderEnd(bytes).length)
  let content: MessageContent | undefined
  return {
    id,
    sizeBytes: bytes.length,
    digest,
    bytes,
    header,
    content: () => (content ??= contentOf(bytes, header, digest)),
    open: (offset = 0) => Readable.from([bytes.subarray(offset)], { objectMode: false }),
    discard: async () => undefined,
  }
}

function fileMessage(
  handle: FileHandle,
  facts: {
    readonly id: string
    readonly sizeBytes: number
    readonly digest: string
    readonly header: Buffer
    readonly content?: () => MessageContent
  },
): SpooledMessage {
  return {
    ...facts,
    open: (offset = 0) => new SpoolReader(handle, offset),
    discard: () => handle.close(),
  }
}

/** Reads at its own position of the shared handle, so that several can read at the same time. */
class SpoolReader extends Readable {
  readonly #handle: FileHandle
  #position: number
  #reading: Promise<void> | undefined

  constructor(handle: FileHandle, offset: number) {
    super({ highWaterMark: READ_BYTES })
    this.#handle = handle
    this.#position = offset
  }

  override _read(): void {
    this.#reading = this.#readOn()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#reading) return done(error)
    void this.#reading.then(() => done(error))
  }

  async #readOn(): Promise<void> {
    try {
      const { bytesRead, buffer } = await this.#handle.read(
        Buffer.allocUnsafeSlow(READ_BYTES),
        0,
        READ_BYTES,
        this.#position,
      )
      this.#position += bytesRead
      this.push(bytesRead === 0 ? null : buffer.subarray(0, bytesRead))
    } catch (cause) {
      this.destroy(new FilterError('E_SPOOL', 'cannot read the spool file', { cause }))
    } finally {
      this.#reading = undefined
    }
  }
}
