import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { outcomeOf, readTables, siteOf } from '../test/policyTables.ts'

const FOLDER = fileURLToPath(new URL('../../../fixtures/policy', import.meta.url))
const files = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, sections: readTables(readFileSync(join(FOLDER, name), 'utf8')) }))

describe.each(files)('$name', ({ sections }) => {
  describe.each(sections)('$title', ({ yaml, rows }) => {
    const site = siteOf(yaml)
    test.each(rows.map((row) => [Object.values(row).join(' | '), row] as const))('%s', async (_name, row) => {
      const outcome = await outcomeOf(site, row)
      expect(outcome).toEqual(Object.fromEntries(Object.keys(outcome).map((column) => [column, row[column]])))
    })
  })
})

test('no table is lost by the way it is written', () => {
  const sections = files.flatMap((file) => file.sections)
  expect(sections.filter(({ rows }) => rows.length === 0).map(({ title }) => title)).toEqual([])
  expect(sections.flatMap(({ rows }) => rows).length).toBeGreaterThanOrEqual(200)
})
