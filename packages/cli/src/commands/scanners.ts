import { describeKeys, scannerSection, type KeyDoc, type ScannerKind } from '@ecluse/core'
import type { Command } from '../command.ts'

/** `scanners`. */
export const scanners: Command = {
  name: 'scanners',
  usage: '',
  summary: 'Lists the kinds of scanners with their options.',
  options: {},
  async run(_, { kinds, out }) {
    out(kinds.map(describeKind).join('\n'))
    return 0
  },
}

/** Of the longest key, `breaker.retryAfter`. */
const WIDTH = 18

function describeKind(kind: ScannerKind): string {
  const lines = describeKeys(scannerSection(kind))
    // A section with defaults is told of by its keys.
    .filter(({ path, notation }) => path !== 'kind' && notation !== 'section')
    .map(describeOption)
  const inputs = kind.verdictInputs
  const memory = inputs ? `Remembered by ${inputs.join(', ')}: see cache.` : 'Not remembered.'
  return [`kind: ${kind.kind}`, `  ${kind.description}`, `  ${memory}`, ...lines, ''].join('\n')
}

function describeOption({ path, notation = '', description = '', fallback, required }: KeyDoc): string {
  const end =
    fallback !== undefined
      ? `default ${typeof fallback === 'string' ? fallback : JSON.stringify(fallback)}`
      : required
        ? 'required'
        : 'optional'
  return `    ${path.padEnd(WIDTH)} ${notation}; ${end}\n${' '.repeat(WIDTH + 5)}${description}`
}
