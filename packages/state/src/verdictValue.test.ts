import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { CLEAN, isComplete, type Finding, type Verdict } from '@ecluse/core'
import {
  dependsOnTrace,
  MAX_VALUE_BYTES,
  packVerdict,
  readVerdict,
  unpackVerdict,
  writeVerdict,
  type RememberedVerdict,
} from './verdictValue.ts'

const NOW = Date.UTC(2026, 10, 24)
const TRACE = 'cd'.repeat(32)
const CLEAN_VALUE: RememberedVerdict = { verdict: CLEAN, expiresAt: NOW + 1000 }
const INFECTED: RememberedVerdict = {
  verdict: { findings: [{ kind: 'virus', name: 'Eicar-Test-Signature' }] },
  expiresAt: NOW + 1000,
  trace: TRACE,
}

const printable = (minLength: number, maxLength: number) =>
  fc.string({ unit: 'grapheme-ascii', minLength, maxLength })
const points = fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((value) => value + 0)
const finding: fc.Arbitrary<Finding> = fc.oneof(
  fc.record({ kind: fc.constant('virus' as const), name: printable(0, 200) }),
  fc.record(
    {
      kind: fc.constant('score' as const),
      points,
      required: points,
      symbols: fc.array(fc.record({ name: printable(1, 100), score: points }), { maxLength: 5 }),
    },
    { requiredKeys: ['kind', 'points', 'symbols'] },
  ),
  fc.record({
    kind: fc.constant('authenticated' as const),
    method: fc.constantFrom('dkim' as const, 'spf' as const, 'dmarc' as const),
    identity: fc.oneof(
      fc.constantFrom('from' as const, 'mail-from' as const),
      fc.record({ domain: printable(1, 255) }),
    ),
  }),
)
const remembered = fc
  .tuple(fc.array(finding, { maxLength: 5 }), fc.integer({ min: 0, max: 2 ** 45 }))
  .map(([findings, expiresAt]): RememberedVerdict => ({
    verdict: { findings },
    expiresAt,
    ...(dependsOnTrace({ findings }) && { trace: TRACE }),
  }))

describe('a verdict as text', () => {
  test('property: reads as what was written', () => {
    fc.assert(
      fc.property(remembered, (value) => {
        expect(readVerdict(writeVerdict(value))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  test('is compact, and says its format', () => {
    expect(writeVerdict(INFECTED)).toBe(
      `{"v":1,"e":${NOW + 1000},"t":"${TRACE}","f":[["v","Eicar-Test-Signature"]]}`,
    )
  })

  test('property: what is cut is none', () => {
    fc.assert(
      fc.property(remembered, fc.nat(), (value, at) => {
        const text = writeVerdict(value)
        expect(readVerdict(text.slice(0, at % text.length))).toBeUndefined()
      }),
    )
  })

  test.each([
    ['nothing', ''],
    ['no JSON', 'OK'],
    ['a number', '1'],
    ['null', 'null'],
    ['a list', '[]'],
    ['an older or newer format', '{"v":2,"e":1,"f":[]}'],
    ['no time', '{"v":1,"f":[]}'],
    ['half a millisecond', '{"v":1,"e":1.5,"f":[]}'],
    ['no findings', '{"v":1,"e":1}'],
    ['findings that are no list', '{"v":1,"e":1,"f":{}}'],
    ['a finding that is no list', '{"v":1,"e":1,"f":["v"]}'],
    ['an unknown finding', '{"v":1,"e":1,"f":[["x"]]}'],
    ['unchecked content', '{"v":1,"e":1,"f":[["u","encrypted"]]}'],
    ['a virus without the copies that it is true of', '{"v":1,"e":1,"f":[["v","X"]]}'],
    ['a trace that is none', `{"v":1,"e":1,"t":"x","f":[["v","X"]]}`],
    ['a virus without a name', `{"v":1,"e":1,"t":"${TRACE}","f":[["v"]]}`],
    ['a name with a line end', `{"v":1,"e":1,"t":"${TRACE}","f":[["v","X\\r\\nY: z"]]}`],
    ['a name of 201 characters', `{"v":1,"e":1,"t":"${TRACE}","f":[["v","${'x'.repeat(201)}"]]}`],
    ['a name and something more', `{"v":1,"e":1,"t":"${TRACE}","f":[["v","X",1]]}`],
    ['points that are text', '{"v":1,"e":1,"f":[["s","1",null,[]]]}'],
    ['points beyond a million', '{"v":1,"e":1,"f":[["s",1000001,null,[]]]}'],
    ['points without end', '{"v":1,"e":1,"f":[["s",1e999,null,[]]]}'],
    ['no symbols', '{"v":1,"e":1,"f":[["s",1,null]]}'],
    ['a symbol without points', '{"v":1,"e":1,"f":[["s",1,null,[["A"]]]]}'],
    ['a symbol without a name', '{"v":1,"e":1,"f":[["s",1,null,[["",1]]]]}'],
    ['201 symbols', JSON.stringify({ v: 1, e: 1, f: [['s', 1, null, Array(201).fill(['A', 1])]] })],
    ['1,001 findings', JSON.stringify({ v: 1, e: 1, f: Array(1001).fill(['s', 1, null, []]) })],
    ['a proof by another method', `{"v":1,"e":1,"t":"${TRACE}","f":[["a","arc","from"]]}`],
    ['a proof of nobody', `{"v":1,"e":1,"t":"${TRACE}","f":[["a","dkim","x"]]}`],
    ['a proof of a domain and more', `{"v":1,"e":1,"t":"${TRACE}","f":[["a","dkim",{"domain":"x","y":1}]]}`],
  ])('%s is none', (_, text) => {
    expect(readVerdict(text)).toBeUndefined()
  })

  test('property: any text is none, or a verdict that could have been written', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        const read = readVerdict(text)
        expect(read && readVerdict(writeVerdict(read))).toEqual(read)
      }),
    )
  })
})

test.each<[Verdict, boolean, boolean]>([
  [CLEAN, true, false],
  [{ findings: [{ kind: 'virus', name: 'X' }] }, true, true],
  [{ findings: [{ kind: 'score', points: 1, symbols: [] }] }, true, false],
  [{ findings: [{ kind: 'authenticated', method: 'spf', identity: 'mail-from' }] }, true, true],
  [{ findings: [{ kind: 'unchecked', reason: 'encrypted' }] }, false, false],
  [
    {
      findings: [
        { kind: 'virus', name: 'X' },
        { kind: 'unchecked', reason: 'limits exceeded' },
      ],
    },
    false,
    true,
  ],
])('%j: complete %s, of one way only %s', (verdict, complete, oneWay) => {
  expect([isComplete(verdict), dependsOnTrace(verdict)]).toEqual([complete, oneWay])
})

describe('packed', () => {
  test('comes out as it went in', () => {
    expect(unpackVerdict(packVerdict(CLEAN_VALUE) ?? Buffer.alloc(0), NOW)).toEqual(CLEAN_VALUE)
  })

  test('is none when it would hold for more than 30 days', () => {
    const at = (expiresAt: number) => Buffer.from(writeVerdict({ ...CLEAN_VALUE, expiresAt }))
    const longest = NOW + 30 * 86_400_000
    expect(unpackVerdict(at(longest), NOW)?.expiresAt).toBe(longest)
    expect(unpackVerdict(at(longest + 1), NOW)).toBeUndefined()
  })

  test('is neither made nor read when it is too long', () => {
    const symbols = Array.from({ length: 400 }, () => ({ name: 'x'.repeat(100), score: 1 }))
    const verdict: Verdict = { findings: [{ kind: 'score', points: 1, symbols }] }
    expect(packVerdict({ verdict, expiresAt: NOW })).toBeUndefined()
    const long = `{"v":1,"e":${NOW},"f":[]${' '.repeat(MAX_VALUE_BYTES)}}`
    expect(unpackVerdict(Buffer.from(long), NOW)).toBeUndefined()
  })

  test('property: garbage is none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(unpackVerdict(Buffer.from(bytes), NOW)).toBeUndefined()
      }),
    )
  })
})
