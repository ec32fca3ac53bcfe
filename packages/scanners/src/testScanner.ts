/*
 * Finds test strings without any engine, so that a set-up can be tried out before one runs: the EICAR test file, the
 * GTUBE message, and `ECLUSE-TEST-SCORE=N`; in text, quoted-printable and base64. It reads each message once, in pieces.
 */
import {
  failpoint,
  scannerKind,
  section,
  type Finding,
  type Message,
  type ScannerVersion,
  type SpamSymbol,
  type Verdict,
} from '@ecluse/core'
import { base64Lines, quotedPrintable, type Decoder } from './decodedText.ts'
import { abortFailure, scannerFailure } from './failure.ts'
import { scoreFinding } from './score.ts'

// In pieces: this file is to be no virus and no spam itself.
const EICAR = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$', 'EICAR-STANDARD-', 'ANTIVIRUS-TEST-FILE!$H+H*'].join('')
const GTUBE = ['XJS*C4JDBQADN1.NSBN3*2IDNEN*', 'GTUBE-STANDARD-ANTI-UBE-', 'TEST-EMAIL*C.34X'].join('')
const GTUBE_POINTS = 1000
/** Told as the threshold of its own: the one that SpamAssassin ships with. */
const REQUIRED = 5
/** The number ends before anything that could belong to it: `=3D5` is the number 5, quoted. */
const SCORE = /ECLUSE-TEST-SCORE=(-?\d{1,6}(?:\.\d{1,3})?)(?=[^\w.]|\.\D)/
/** No shorter than any of these, with what must follow a number. */
const LONGEST = 80
const PIECE_BYTES = 64 * 1024

/** Test strings instead of an engine. Never to be relied on. */
export const testScanner = scannerKind({
  kind: 'test',
  description: 'Test strings only: EICAR is a virus, GTUBE 1,000 points, ECLUSE-TEST-SCORE=N makes N points',
  concerns: ['virus', 'spam'],
  // No verdictInputs: it also looks at the fields that copies differ in, and is as quick as a memory.
  options: section('Options of kind test.', {}),
  defaults: { timeout: '30s', onError: 'tempfail' },
  create: (name) => ({
    async scan({ message }, signal) {
      try {
        return await search(message, name, signal)
      } catch (cause) {
        throw scannerFailure(name, cause, signal)
      }
    },
    version: (): Promise<ScannerVersion> => Promise.resolve({ engine: 'Ecluse test strings' }),
  }),
})

interface Found {
  eicar: boolean
  gtube: boolean
  score?: number
}

async function search(message: Message, name: string, signal: AbortSignal): Promise<Verdict> {
  const found: Found = { eicar: false, gtube: false }
  const views = [plain(), quotedPrintable(), base64Lines()].map((decoder) => searchView(decoder, found))
  let size = 0
  for await (const chunk of pieces(message)) {
    if (signal.aborted) throw abortFailure(name, signal)
    size += chunk.length
    failpoint('K8-scanner-reading')
    const text = chunk.toString('latin1')
    for (const view of views) view.push(text)
  }
  if (size !== message.sizeBytes) throw new Error(`${size} bytes instead of ${message.sizeBytes}`)
  for (const view of views) view.end()
  return verdictOf(found)
}

function pieces(message: Message): AsyncIterable<Buffer> | Iterable<Buffer> {
  return message.bytes ? slices(message.bytes) : (message.open() as AsyncIterable<Buffer>)
}

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += PIECE_BYTES)
    yield bytes.subarray(start, start + PIECE_BYTES)
}

function plain(): Decoder {
  return { push: (piece) => piece, end: () => '' }
}

/** Searches what a decoder gives, also across its pieces. */
function searchView(decoder: Decoder, found: Found): { push(piece: string): void; end(): void } {
  let tail = ''
  const look = (piece: string): void => {
    const text = tail + piece
    found.eicar ||= text.includes(EICAR)
    found.gtube ||= text.includes(GTUBE)
    const score = SCORE.exec(text)?.[1]
    if (score !== undefined) found.score ??= Number(score)
    tail = text.slice(-LONGEST)
  }
  return {
    push: (piece) => look(decoder.push(piece)),
    // Two line ends for what must follow a number.
    end: () => look(`${decoder.end()}\n\n`),
  }
}

function verdictOf({ eicar, gtube, score }: Found): Verdict {
  const findings: Finding[] = []
  const symbols: SpamSymbol[] = []
  if (eicar) findings.push({ kind: 'virus', name: 'Eicar-Test-Signature' })
  if (gtube) symbols.push({ name: 'GTUBE', score: GTUBE_POINTS })
  if (score !== undefined) symbols.push({ name: 'ECLUSE_TEST_SCORE', score })
  if (symbols.length > 0) {
    findings.push(
      scoreFinding(
        symbols.reduce((sum, symbol) => sum + symbol.score, 0),
        REQUIRED,
        symbols,
      ),
    )
  }
  return { findings }
}
