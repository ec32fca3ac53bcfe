import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { masked, ROOT, runExplain } from '../../test/explaining.ts'

const FOLDER = join(ROOT, 'fixtures/explain')

/** Each has NAME.txt and NAME.json in fixtures/explain. */
const CASES: readonly (readonly [string, string])[] = [
  ['ham', '../mail/ham.eml'],
  [
    'spammy',
    '../mail/spammy.eml --sender offers@example.com --client 198.51.100.7 --helo mx.example.com ' +
      '--rcpt paul@example.org --rcpt x@deep.vip.example.org --rcpt strict@example.org --rcpt boss@example.org ' +
      '--rcpt me@example.net',
  ],
  ['listed', 'listed.eml --sender marie.duval@example.com --client 192.0.2.66 --rcpt paul@example.org --all'],
]

/** The words of a command line behind `explain`; the first is the file, seen from the folder. */
function argumentsOf(line: string): string[] {
  const [file = '', ...options] = line.split(' ')
  return ['--config', join(FOLDER, 'ecluse.yaml'), join(FOLDER, file), ...options]
}

test.each(CASES)('explains %s in words', async (name, line) => {
  const { code, out, lines } = await runExplain(...argumentsOf(line))
  expect({ code, lines }).toEqual({ code: 0, lines: [] })
  expect(masked(out)).toBe(readFileSync(join(FOLDER, `${name}.txt`), 'utf8'))
})

test.each(CASES)('explains %s to scripts', async (name, line) => {
  const { code, out, lines } = await runExplain(...argumentsOf(line), '--json')
  expect({ code, lines }).toEqual({ code: 0, lines: [] })
  expect(masked(out)).toBe(readFileSync(join(FOLDER, `${name}.json`), 'utf8'))
})
