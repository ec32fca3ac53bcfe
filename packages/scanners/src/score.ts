import type { Finding, SpamSymbol } from '@ecluse/core'
import { protocolError } from './failure.ts'

const MAX_POINTS = 1_000_000
const MAX_SYMBOLS = 200
const MAX_NAME_LENGTH = 100

/**
 * A score as adapters hand it on: points and symbols finite, with three decimals; names cleaned; of more than 200
 * symbols those with the most points, in the scanner's order.
 *
 * @throws FilterError E_SCANNER_PROTOCOL: a number is not finite, or beyond a million.
 */
export function scoreFinding(
  points: number,
  required: number | undefined,
  symbols: readonly SpamSymbol[],
): Finding {
  return {
    kind: 'score',
    points: readPoints(points),
    ...(required !== undefined && { required: readPoints(required) }),
    symbols: heaviest(symbols).map(({ name, score }) => ({
      name: symbolName(name),
      score: readPoints(score),
    })),
  }
}

function readPoints(points: number): number {
  if (!(Math.abs(points) <= MAX_POINTS)) throw protocolError(`${points}: not a score`)
  // Adding 0 turns -0 into 0.
  return Math.round(points * 1000) / 1000 + 0
}

function heaviest(symbols: readonly SpamSymbol[]): readonly SpamSymbol[] {
  if (symbols.length <= MAX_SYMBOLS) return symbols
  const ranked = symbols.toSorted((a, b) => Math.abs(b.score) - Math.abs(a.score))
  const kept = new Set(ranked.slice(0, MAX_SYMBOLS))
  return symbols.filter((symbol) => kept.has(symbol))
}

function symbolName(name: string): string {
  const clean = name.slice(0, MAX_NAME_LENGTH).replace(/[^\x21-\x7e]|[,[\]=]/g, '_')
  return clean === '' ? '_' : clean
}
