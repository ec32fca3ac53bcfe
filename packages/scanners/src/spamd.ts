/*
 * spamd(8), SpamAssassin's daemon: REPORT, the only command that gives the points of each rule whatever the site has
 * configured; SYMBOLS, HEADERS and PROCESS give the names only. One connection for each message.
 */
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createDeflate, deflate } from 'node:zlib'
import {
  address,
  flag,
  FilterError,
  formatAddress,
  scannerKind,
  section,
  text,
  type Message,
  type ScanRequest,
} from '@ecluse/core'
import { envelopeText } from './envelopeText.ts'
import { exchange, type Question } from './exchange.ts'
import { abortFailure, lostError, scannerFailure } from './failure.ts'
import { spamassassinProofs } from './proof.ts'
import { scoreFinding } from './score.ts'
import { readEngine, readReportTable, readSpamdReply, readTellReply } from './spamdReply.ts'

/** A report is a few KiB: the limit is for what is none. */
const MAX_REPLY_BYTES = 1024 * 1024
/** What is held in memory of a message that is sent compressed. */
const MAX_COMPRESSED_BYTES = 16 * 1024 * 1024
/** Recipients named to SpamAssassin: for welcomelist_to and the like, not for counting. */
const MAX_RECIPIENTS = 100

/** SpamAssassin's daemon. Debian's default address. */
export const spamd = scannerKind({
  kind: 'spamd',
  description: 'SpamAssassin: spam points, by spamd over TCP or a Unix socket',
  concerns: ['spam'],
  proves: true,
  // The client is told by the Received field of our Postfix.
  verdictInputs: ['content', 'client', 'sender', 'recipients'],
  untold: ({ tellRecipients }) => (tellRecipients ? [] : ['recipients']),
  options: section('Options of kind spamd.', {
    address: address('Where spamd listens.').prefault('127.0.0.1:783'),
    user: text('Whose SpamAssassin preferences apply; absent: those of the site.', {
      max: 200,
    }).exactOptional(),
    compress: flag('Whether messages are sent compressed: for a spamd behind a slow line.').prefault(false),
    tellRecipients: flag(
      'Whether SpamAssassin is told the recipients of the envelope, for welcomelist_to and the like; false: a newsletter that comes for each reader apart is scanned once.',
    ).prefault(true),
  }),
  defaults: { timeout: '30s', onError: 'pass' },
  create(name, options) {
    const where = `${name}: ${formatAddress(options.address)}`
    const ask = async (
      question: Pick<Question, 'head' | 'message'>,
      signal: AbortSignal,
    ): Promise<Buffer> => {
      if (signal.aborted) throw abortFailure(where, signal)
      try {
        const asked = { ...question, address: options.address, maxReplyBytes: MAX_REPLY_BYTES }
        const reply = await exchange(asked, signal)
        if (reply.length === 0) throw lostError(where)
        return reply
      } catch (cause) {
        throw scannerFailure(where, cause, signal)
      }
    }
    return {
      async scan(request, signal) {
        const fields = options.user === undefined ? [] : [`User: ${envelopeText(options.user)}`]
        const question = await questionFor(request, fields, options)
        const { points, required, body } = readSpamdReply(await ask(question, signal))
        const symbols = readReportTable(body)
        const proofs = spamassassinProofs(symbols, request)
        return { findings: [scoreFinding(points, required, symbols), ...proofs] }
      },
      async learn(message, as, signal) {
        const fields = [
          ...(options.user === undefined ? [] : [`User: ${envelopeText(options.user)}`]),
          `Message-class: ${as}`,
          'Set: local',
        ]
        return readTellReply(await ask({ head: command('TELL', fields, message.sizeBytes), message }, signal))
      },
      // PING tells the version of the protocol only: a message of one line costs a scan, and proves that it scans.
      async version(signal) {
        const head = Buffer.from(`HEADERS SPAMC/1.5\r\nContent-length: ${PROBE.length}\r\n\r\n${PROBE}`)
        const { body } = readSpamdReply(await ask({ head }, signal))
        return { engine: readEngine(body) ?? 'SpamAssassin' }
      },
    }
  },
})

const PROBE = 'From: <postmaster@localhost>\r\nSubject: version\r\n\r\n'

async function questionFor(
  request: ScanRequest,
  fields: readonly string[],
  { compress, tellRecipients }: { readonly compress: boolean; readonly tellRecipients: boolean },
): Promise<Pick<Question, 'head' | 'message'>> {
  const { message } = request
  const prefix = Buffer.from(envelopeFields(request, tellRecipients), 'latin1')
  if (!compress) {
    return {
      head: Buffer.concat([command('REPORT', fields, prefix.length + message.sizeBytes), prefix]),
      message,
    }
  }
  // spamd wants the compressed length beforehand.
  const packed = await pack(message, prefix)
  return { head: Buffer.concat([command('REPORT', [...fields, 'Compress: zlib'], packed.length), packed]) }
}

function command(verb: 'REPORT' | 'TELL', fields: readonly string[], length: number): Buffer {
  return Buffer.from(
    [`${verb} SPAMC/1.5`, ...fields, `Content-length: ${length}`, '', ''].join('\r\n'),
    'latin1',
  )
}

/**
 * The envelope, as header fields above what SpamAssassin reads (never above what is delivered). Without them it knows
 * no envelope sender, hence no SPF, and neither welcomelist_from nor welcomelist_to see the envelope; amavisd gives
 * the same two. Above a leading mbox line they would hide the header.
 */
function envelopeFields({ message, envelope }: ScanRequest, tellRecipients: boolean): string {
  if (message.header.subarray(0, 5).toString('latin1') === 'From ') return ''
  const told = tellRecipients ? envelope.recipients.slice(0, MAX_RECIPIENTS) : []
  const recipients = told.map(({ address: to }) => envelopeText(to))
  return [
    `Return-Path: <${envelopeText(envelope.mailFrom)}>\r\n`,
    ...(recipients.length > 0 ? [`X-Envelope-To: <${recipients.join('>,\r\n\t<')}>\r\n`] : []),
  ].join('')
}

async function pack(message: Message, prefix: Buffer): Promise<Buffer> {
  if (message.bytes) return await promisify(deflate)(Buffer.concat([prefix, message.bytes]))
  const chunks: Buffer[] = []
  let size = 0
  const source = async function* (): AsyncGenerator<Buffer> {
    yield prefix
    yield* message.open() as AsyncIterable<Buffer>
  }
  await pipeline(source, createDeflate(), async (packed: AsyncIterable<Buffer>) => {
    for await (const chunk of packed) {
      size += chunk.length
      if (size > MAX_COMPRESSED_BYTES) throw tooLarge()
      chunks.push(chunk)
    }
  })
  return Buffer.concat(chunks)
}

function tooLarge(): FilterError {
  return new FilterError('E_SCANNER_LIMIT', 'spamd: too large to be sent compressed', {
    hint: 'set maxSize, or compress: false',
  })
}
