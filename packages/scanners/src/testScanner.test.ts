import { expect, test } from '@jest/globals'
import type { Verdict } from '@ecluse/core'
import { EICAR, GTUBE, testMessage } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { testScanner } from './testScanner.ts'

const NEVER = new AbortController().signal
const scanner = testScanner.create('test', testScanner.options.parse({}))
const scan = (text: string, pieceBytes?: number): Promise<Verdict> =>
  scanner.scan(request(testMessage(text, pieceBytes === undefined ? {} : { pieceBytes })), NEVER)

const virus = { findings: [{ kind: 'virus', name: 'Eicar-Test-Signature' }] }
const scored = (points: number, name = 'ECLUSE_TEST_SCORE'): Verdict => ({
  findings: [{ kind: 'score', required: 5, points, symbols: [{ name, score: points }] }],
})
const HEADER = 'From: <bob@example.com>\r\nSubject: hello\r\n'
const plain = (text: string): string => `${HEADER}\r\n${text}\r\n`
const base64 = (text: string, width = 76): string => {
  const encoded = Buffer.from(text)
    .toString('base64')
    .replace(new RegExp(`.{${width}}`, 'g'), '$&\r\n')
  return `${HEADER}Content-Transfer-Encoding: base64\r\n\r\n${encoded}\r\n--boundary\r\nThis is text\r\n`
}
/** Every character quoted, soft line breaks after every 12th. */
const quoted = (text: string): string => {
  const escapes = Array.from(
    text,
    (char) => `=${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
  return `${HEADER}\r\n${escapes.join('').replace(/.{36}/g, '$&= \r\n')}\r\n`
}
const broken = (text: string): string => `${HEADER}\r\n${text.replace(/.{20}/g, '$&=\r\n')}\r\n`

const CASES: [string, string, unknown][] = [
  ['nothing', plain('hello'), { findings: [] }],
  ['EICAR', plain(EICAR), virus],
  ['GTUBE', plain(GTUBE), scored(1000, 'GTUBE')],
  ['points', plain('ECLUSE-TEST-SCORE=7.25'), scored(7.25)],
  ['points in a sentence', plain('x ECLUSE-TEST-SCORE=5. Then'), scored(5)],
  ['negative points', plain('ECLUSE-TEST-SCORE=-3'), scored(-3)],
  ['points with two digits that look quoted', plain('ECLUSE-TEST-SCORE=20'), scored(20)],
  ['points in quoted-printable', plain('ECLUSE-TEST-SCORE=3D42'), scored(42)],
  ['points at the very end', 'ECLUSE-TEST-SCORE=15', scored(15)],
  [
    'no number',
    plain('ECLUSE-TEST-SCORE=N ECLUSE-TEST-SCORE=1234567 ECLUSE-TEST-SCORE=1.2.3'),
    { findings: [] },
  ],
  ['EICAR in base64', base64(`padding ${EICAR} more`), virus],
  ['EICAR in base64 of odd lines', base64(EICAR, 13), virus],
  ['EICAR in one line of base64', base64(`${'x'.repeat(3000)}${EICAR}`, 10_000), virus],
  ['GTUBE in base64', base64(GTUBE), scored(1000, 'GTUBE')],
  ['points in base64', base64('ECLUSE-TEST-SCORE=8'), scored(8)],
  ['EICAR in quoted-printable', quoted(EICAR), virus],
  ['EICAR over soft line breaks', broken(EICAR), virus],
  ['GTUBE in quoted-printable', quoted(GTUBE), scored(1000, 'GTUBE')],
]

test.each(CASES)('finds %s, wherever the message is cut', async (_, text, verdict) => {
  await expect(scan(text)).resolves.toEqual(verdict)
  for (let size = 1; size < 90; size += 3) await expect(scan(text, size)).resolves.toEqual(verdict)
})

test('finds what lies across the pieces of a large message', async () => {
  for (const shift of [0, 1, 34, 67, 68]) {
    const filler = 'x'.repeat(65_536 - shift)
    await expect(scan(filler + EICAR)).resolves.toEqual(virus)
  }
})

test('adds up points, beside a virus', async () => {
  await expect(scan(plain(`${EICAR} ${GTUBE} ECLUSE-TEST-SCORE=-1`))).resolves.toEqual({
    findings: [
      { kind: 'virus', name: 'Eicar-Test-Signature' },
      {
        kind: 'score',
        required: 5,
        points: 999,
        symbols: [
          { name: 'GTUBE', score: 1000 },
          { name: 'ECLUSE_TEST_SCORE', score: -1 },
        ],
      },
    ],
  })
})

test('a message that ends early is a failure', async () => {
  const message = { ...testMessage('hello', { pieceBytes: 2 }), sizeBytes: 6 }
  await expect(scanner.scan(request(message), NEVER)).rejects.toMatchObject({ code: 'E_SCANNER_PROTOCOL' })
})

test('stops when the signal aborts', async () => {
  const aborted = AbortSignal.abort()
  await expect(scanner.scan(request(testMessage('hello')), aborted)).rejects.toMatchObject({
    code: 'E_ABORTED',
  })
})

test('has a version', async () => {
  await expect(scanner.version(NEVER)).resolves.toEqual({ engine: 'Ecluse test strings' })
})
