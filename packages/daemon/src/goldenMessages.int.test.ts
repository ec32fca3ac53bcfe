import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test } from '@jest/globals'
import { releaseAll } from './daemon.testkit.ts'
import { passGolden } from './golden.testkit.ts'
import { GOLDEN_CASES } from './goldenCases.testkit.ts'

const FOLDER = fileURLToPath(new URL('../../../fixtures/golden', import.meta.url))
const WRITE = process.env['ECLUSE_GOLDEN'] === 'write' && process.env['CI'] !== 'true'

afterEach(releaseAll)

test.each(GOLDEN_CASES.map((golden) => [golden.name, golden] as const))('%s', async (name, golden) => {
  const file = join(FOLDER, `${name}.txt`)
  const text = await passGolden(golden)
  if (WRITE) writeFileSync(file, text)
  expect(text).toBe(readFileSync(file, 'utf8'))
})

test('every file belongs to a message', () => {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))
  expect(names.toSorted()).toEqual(GOLDEN_CASES.map(({ name }) => `${name}.txt`).toSorted())
})
