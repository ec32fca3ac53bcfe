import { createReadStream } from 'node:fs'
import { addAbortSignal, type Readable } from 'node:stream'
import { FilterError } from '@ecluse/core'
import type { SpooledMessage, SpoolWriter } from '@ecluse/mail'
import { readFields, type QuarantineEntry, type ReadFields } from '@ecluse/quarantine'

/** A message from a file, as it would stand in the spool. */
export interface FileMessage {
  readonly message: SpooledMessage
  /** `mbox`: a "From " line was dropped. `quarantine`: what stands behind our own fields. */
  readonly form: 'message' | 'mbox' | 'quarantine'
  /** `lf`: a file of Unix; each bare LF was read as CRLF. */
  readonly lineEnds: 'crlf' | 'lf'
  /** Of a file of the quarantine: what was known of the message. */
  readonly entry?: QuarantineEntry
  /** What is odd about the file. */
  readonly notes: readonly string[]
}

/** How a file is read. */
export interface ReadingOptions {
  readonly writer: SpoolWriter
  /** Bytes; a larger message would not have been taken either. */
  readonly limitBytes: number
}

/** Enough for the fields of a quarantined message with a few recipients. */
const HEAD_BYTES = 16 * 1024
/** As much as the quarantine reads of its own files. */
const MAX_HEAD_BYTES = 16 * 1024 * 1024
const QUARANTINE_FIELD = /^X-Ecluse-Quarantine: /m
const NEWLINE = 10

/**
 * Writes a file into the spool: as it is where its first line ends in CRLF, otherwise each bare LF as CRLF; the "From "
 * line of an mbox is dropped, a last line without end gets one. Of a file of our quarantine only the original.
 *
 * @param file `-` is standard input
 * @throws FilterError E_USAGE when the file cannot be read, is empty, or larger than the limit; E_SPOOL
 */
export async function readMessageFile(
  file: string,
  { writer, limitBytes }: ReadingOptions,
  signal: AbortSignal,
): Promise<FileMessage> {
  const stream: Readable = file === '-' ? process.stdin : createReadStream(file)
  // Standard input may be silent for ever.
  addAbortSignal(signal, stream)
  try {
    const pieces = new Pieces(stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>)
    const head = await readHead(pieces)
    const { skip, convert, ...about } = head
    const write = bounded(writer, limitBytes, file)
    const ends = new LineEnds(convert)
    for (let piece: Buffer | undefined = pieces.take(skip); piece; piece = await pieces.next())
      await write(ends.convert(piece))
    if (about.form !== 'quarantine') await write(ends.end())
    if (write.written() === 0)
      throw new FilterError('E_USAGE', `${file}: no message in it`, { hint: 'it is empty' })
    const message = await writer.finish()
    return {
      message: about.entry ? { ...message, id: about.entry.id } : message,
      ...about,
      notes: notesOn(about, message),
    }
  } catch (cause) {
    await writer.discard()
    if (signal.aborted) throw new FilterError('E_ABORTED', 'interrupted', { cause })
    throw cause instanceof FilterError ? cause : unreadable(file, cause)
  } finally {
    stream.destroy()
  }
}

/** What the beginning of a file says. */
interface Head {
  readonly form: FileMessage['form']
  readonly lineEnds: FileMessage['lineEnds']
  readonly entry?: QuarantineEntry
  /** Bytes that are not of the message. */
  readonly skip: number
  readonly convert: boolean
  /** Whether it looks like a file of the quarantine, and is none. */
  readonly broken: boolean
}

async function readHead(pieces: Pieces): Promise<Head> {
  const head = await pieces.peek(HEAD_BYTES)
  const fields = await quarantineFields(pieces)
  if (fields) {
    const { entry, headerBytes } = fields
    return { form: 'quarantine', lineEnds: 'crlf', entry, skip: headerBytes, convert: false, broken: false }
  }
  const firstEnd = head.indexOf(NEWLINE)
  const mbox = firstEnd !== -1 && head.toString('latin1', 0, 5) === 'From '
  const skip = mbox ? firstEnd + 1 : 0
  const end = head.indexOf(NEWLINE, skip)
  const lineEnds = end === -1 || head[end - 1] === 13 ? 'crlf' : 'lf'
  const [header = ''] = head.toString('latin1').split(/\r?\n\r?\n/, 1)
  const broken = QUARANTINE_FIELD.test(header)
  return { form: mbox ? 'mbox' : 'message', lineEnds, skip, convert: lineEnds === 'lf', broken }
}

/** Absent: not a whole file of the quarantine. */
async function quarantineFields(pieces: Pieces): Promise<ReadFields | undefined> {
  let wanted = HEAD_BYTES
  for (;;) {
    const head = await pieces.peek(wanted)
    let fields: ReadFields | number
    try {
      fields = readFields(head)
    } catch (error) {
      if (error instanceof FilterError && error.code === 'E_QUARANTINE') return undefined
      throw error
    }
    if (typeof fields !== 'number') return fields
    if (head.length < wanted || fields > MAX_HEAD_BYTES) return undefined
    wanted = Math.max(fields, wanted + 1)
  }
}

function notesOn(
  { entry, broken }: Head | Omit<Head, 'skip' | 'convert'>,
  message: SpooledMessage,
): string[] {
  if (broken) return ['the fields of the quarantine in it cannot be read: taken as an ordinary message']
  if (!entry || entry.digest === message.digest) return []
  return [`it is not the message that was kept: ${message.sizeBytes} bytes of ${entry.sizeBytes}, or changed`]
}

/** A stream whose beginning can be looked at before it is read. */
class Pieces {
  readonly #chunks: AsyncIterator<Buffer>
  #head: Buffer = Buffer.alloc(0)
  #ended = false

  constructor(chunks: AsyncIterator<Buffer>) {
    this.#chunks = chunks
  }

  /** The first bytes; fewer where there are no more. */
  async peek(bytes: number): Promise<Buffer> {
    const parts = [this.#head]
    let length = this.#head.length
    while (length < bytes) {
      const chunk = await this.next()
      if (!chunk) break
      parts.push(chunk)
      length += chunk.length
    }
    this.#head = Buffer.concat(parts)
    return this.#head.subarray(0, bytes)
  }

  /** What was looked at, without its first bytes. */
  take(skip: number): Buffer {
    const head = this.#head.subarray(skip)
    this.#head = Buffer.alloc(0)
    return head
  }

  /** What comes behind that; absent: nothing. */
  async next(): Promise<Buffer | undefined> {
    if (this.#ended) return undefined
    const { value, done } = await this.#chunks.next()
    if (done) this.#ended = true
    return done ? undefined : value
  }
}

/** Line ends of the wire. */
class LineEnds {
  readonly #convert: boolean
  #last = ''

  constructor(convert: boolean) {
    this.#convert = convert
  }

  convert(piece: Buffer): Buffer {
    if (piece.length === 0) return piece
    const text = piece.toString('latin1')
    const before = this.#last
    this.#last = text.slice(-1)
    if (!this.#convert) return piece
    // The last byte before it says whether a CR stands before its first LF.
    return Buffer.from(
      (before + text).replace(/(?<!\r)\n/g, '\r\n').slice(before === '\n' ? 2 : before.length),
      'latin1',
    )
  }

  /** What the last line lacks. */
  end(): Buffer {
    return Buffer.from(this.#last === '\n' || this.#last === '' ? '' : '\r\n')
  }
}

function bounded(
  writer: SpoolWriter,
  limitBytes: number,
  file: string,
): { (piece: Buffer): Promise<void>; written(): number } {
  let written = 0
  const write = async (piece: Buffer): Promise<void> => {
    written += piece.length
    if (written > limitBytes) {
      throw new FilterError('E_USAGE', `${file}: larger than limits.messageSize (${limitBytes} bytes)`, {
        hint: 'the listener refuses such a message before it is looked at: 552',
      })
    }
    if (piece.length > 0) await writer.write(piece)
  }
  return Object.assign(write, { written: () => written })
}

const READ_ERRORS: Readonly<Record<string, readonly [string, string]>> = {
  ENOENT: ['no such file', 'name the file of a message'],
  ENOTDIR: ['no such file', 'a part of the path is a file'],
  EISDIR: ['is a folder, not a file', 'name the file of a message'],
  EACCES: ['not readable', 'run it as a user who may read the file'],
}

function unreadable(file: string, cause: unknown): unknown {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  if (code === undefined) return cause
  const [what, hint] = READ_ERRORS[code] ?? [`cannot be read: ${code}`]
  return new FilterError('E_USAGE', `${file}: ${what}`, { cause, ...(hint !== undefined && { hint }) })
}
