import { expect, test } from '@jest/globals'
import { scoreFinding } from './score.ts'

test('rounds to three decimals and knows no negative zero', () => {
  const finding = scoreFinding(7.123_456, 5, [{ name: 'A', score: -0.000_01 }])
  expect(finding).toStrictEqual({
    kind: 'score',
    points: 7.123,
    required: 5,
    symbols: [{ name: 'A', score: 0 }],
  })
})

test.each([
  ['A_B-1.2(x)', 'A_B-1.2(x)'],
  ['a b,c[d]e=f', 'a_b_c_d_e_f'],
  ['x\r\nBcc: y\0\u00e9\u{1F600}', 'x__Bcc:_y____'],
  ['', '_'],
  ['n'.repeat(300), 'n'.repeat(100)],
])('makes a name of %j', (name, clean) => {
  expect(scoreFinding(0, undefined, [{ name, score: 0 }])).toMatchObject({ symbols: [{ name: clean }] })
})

test('keeps the 200 symbols with the most points, in their order', () => {
  const symbols = Array.from({ length: 300 }, (_, index) => ({
    name: `S${index}`,
    score: index % 3 === 0 ? 0 : -index,
  }))
  const finding = scoreFinding(0, undefined, symbols)
  expect(finding.kind === 'score' && finding.symbols).toEqual(symbols.filter(({ score }) => score !== 0))
})

test.each([Number.NaN, Infinity, -Infinity, 1e7, -1e7])('refuses %p', (points) => {
  const refused = expect.objectContaining({ code: 'E_SCANNER_PROTOCOL' })
  expect(() => scoreFinding(points, undefined, [])).toThrow(refused)
  expect(() => scoreFinding(0, points, [])).toThrow(refused)
  expect(() => scoreFinding(0, 0, [{ name: 'A', score: points }])).toThrow(refused)
})
