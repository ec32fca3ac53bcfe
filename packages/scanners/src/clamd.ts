/*
 * clamd(8), INSTREAM, over TCP or a Unix socket. A message that is in memory goes over a kept connection, once clamd has
 * told its version over one (clamdSession.ts); every other one has a connection of its own, as has one whose session
 * gave no whole answer. There clamdjs speaks the protocol, with patches/clamdjs@1.0.2.patch; its reasons:
 *
 * - address and signal: clamdjs knows TCP only, while Debian's clamd listens on a Unix socket, and cannot be aborted;
 * - one place settles, and frees socket, timer and listener: the timer outlived a refused connection, the socket a
 *   failed scan, and the socket timeout did nothing; a reply has at most 64 KiB;
 * - a buffer goes out in one write, a chunk of a stream without a copy; an empty chunk, which would end the data and
 *   leave the rest unscanned, is left out;
 * - a failure carries what was read before it as `reply`: EPIPE hid clamd's early `INSTREAM size limit exceeded`. For
 *   that the patch overrides the socket's _destroy and reads its file descriptor, since Node.js drops what is unread;
 * - a reply that came before all data were sent is a failure.
 */
import { createScanner, version } from 'clamdjs'
import {
  address,
  CLEAN,
  formatAddress,
  path,
  printable,
  scannerKind,
  section,
  type Finding,
  type Message,
  type ScannerVersion,
  type Verdict,
} from '@ecluse/core'
import { BRIEF_QUESTION, clamdLoaded } from './clamdLoaded.ts'
import { ClamdSessions, instream } from './clamdSession.ts'
import { abortFailure, lostError, protocolError, scannerFailure } from './failure.ts'

/** ClamAV's daemon. Debian's default address. */
export const clamd = scannerKind({
  kind: 'clamd',
  description: 'ClamAV: viruses, by clamd over TCP or a Unix socket',
  concerns: ['virus'],
  verdictInputs: ['content'],
  options: section('Options of kind clamd.', {
    address: address('Where clamd listens.').prefault('unix:/run/clamav/clamd.ctl'),
    databaseDirectory: path(
      'Its signatures, where we can read them: changes of those that its version does not tell of; absent: found for a clamd of this host.',
    ).exactOptional(),
  }),
  defaults: { timeout: '60s', onError: 'tempfail' },
  create(name, options) {
    const where = `${name}: ${formatAddress(options.address)}`
    const client = createScanner(options.address)
    const sessions = new ClamdSessions(options.address)
    const askLoaded = clamdLoaded(options.address, sessions, options.databaseDirectory)
    const send = async (message: Message, signal: AbortSignal): Promise<string> => {
      if (!message.bytes) return await client.scanStream(message.open(), { signal })
      const reply = sessions.known ? await sessions.ask(instream(message.bytes), signal) : undefined
      return reply ?? (await client.scanBuffer(message.bytes, { signal }))
    }
    return {
      async scan({ message }, signal) {
        if (signal.aborted) throw abortFailure(where, signal)
        try {
          const reply = await send(message, signal)
          if (reply === '') throw lostError(where)
          return readReply(reply)
        } catch (cause) {
          const early = signal.aborted ? undefined : readBrokenReply(cause)
          if (early) return early
          throw scannerFailure(where, cause, signal)
        }
      },
      async version(signal) {
        if (signal.aborted) throw abortFailure(where, signal)
        try {
          const reply = await sessions.ask([BRIEF_QUESTION], signal)
          return readVersion(reply ?? (await version(options.address, undefined, { signal })))
        } catch (cause) {
          throw scannerFailure(where, cause, signal)
        }
      },
      async loaded(signal) {
        try {
          return await askLoaded(signal)
        } catch (cause) {
          throw scannerFailure(where, cause, signal)
        }
      },
      close: () => {
        sessions.close()
        return Promise.resolve()
      },
    }
  },
})

const SIZE_LIMIT = 'INSTREAM size limit exceeded. ERROR'

/**
 * Reads the reply to INSTREAM. `Heuristics.Limits.Exceeded` and `Heuristics.Encrypted`, which clamd tells where its
 * AlertExceedsMax and AlertEncrypted are on, and its own StreamMaxLength are content that it did not look at. Several
 * replies are one verdict only where each is a find.
 *
 * @throws FilterError E_SCANNER_PROTOCOL: anything else than one whole reply. Nothing odd is clean.
 */
export function readReply(reply: string): Verdict {
  if (!reply.endsWith('\0')) throw protocolError(`clamd: unfinished reply: ${printable(reply)}`)
  const lines = reply.slice(0, -1).split('\0')
  if (lines.length === 1) {
    if (lines[0] === 'stream: OK') return CLEAN
    if (lines[0] === SIZE_LIMIT) return { findings: [{ kind: 'unchecked', reason: 'too large' }] }
  }
  return { findings: lines.map(readFind) }
}

function readFind(line: string): Finding {
  const name = /^stream: (\S.*) FOUND$/.exec(line)?.[1]
  if (name === undefined) throw protocolError(`clamd: unexpected reply: ${printable(line)}`)
  if (name.startsWith('Heuristics.Limits.Exceeded')) return { kind: 'unchecked', reason: 'limits exceeded' }
  if (name.startsWith('Heuristics.Encrypted')) return { kind: 'unchecked', reason: 'encrypted' }
  return { kind: 'virus', name: printable(name) }
}

/** What clamd said before the connection broke: a find or a limit counts, "OK" does not; absent: nothing of use. */
function readBrokenReply(cause: unknown): Verdict | undefined {
  if (typeof cause !== 'object' || cause === null || !('reply' in cause)) return undefined
  const verdict = whole(String(cause.reply))
  return verdict && verdict.findings.length > 0 ? verdict : undefined
}

function whole(reply: string): Verdict | undefined {
  try {
    return readReply(reply)
  } catch {
    // The failure of the connection is told instead.
    return undefined
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const DATABASE_DATE = /^[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})$/

/**
 * Reads the reply to VERSION: `ClamAV 1.4.3/27500/Mon Nov 23 09:01:02 2026`, or the engine alone where there is no
 * official database. clamd prints the date in its own local time without naming it: taken as UTC, so up to 14 hours off.
 *
 * @throws FilterError E_SCANNER_PROTOCOL
 */
export function readVersion(reply: string): ScannerVersion {
  const match = /^(ClamAV [^/\0]+)(?:\/(\d{1,10})\/([^/\0]*))?\0$/.exec(reply)
  if (!match?.[1]) throw protocolError(`clamd: unexpected version: ${printable(reply)}`)
  const [, engine, signatures, date = ''] = match
  const timestamp = readDate(date)
  return {
    engine: printable(engine),
    ...(signatures !== undefined && { signatures }),
    ...(timestamp !== undefined && { signatureTimestamp: timestamp }),
  }
}

function readDate(text: string): number | undefined {
  const match = DATABASE_DATE.exec(text)
  const month = MONTHS.indexOf(match?.[1] ?? '')
  if (!match || month === -1) return undefined
  const [day, hours, minutes, seconds, year] = match.slice(2).map(Number)
  return Date.UTC(year ?? Number.NaN, month, day, hours, minutes, seconds) / 1000
}
