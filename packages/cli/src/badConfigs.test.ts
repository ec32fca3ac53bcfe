import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { check } from './commands/check.ts'
import { runCommand } from './run.ts'

const FOLDER = fileURLToPath(new URL('../../../fixtures/configs/bad/', import.meta.url))
const NAMES = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.slice(0, -'.yaml'.length))

async function complaints(file: string): Promise<{ code: number; lines: string[]; out: string }> {
  const lines: string[] = []
  let out = ''
  const code = await runCommand(['check', '--config', file], {
    kinds: SAMPLE_KINDS,
    env: {},
    hostname: 'mail.example.org',
    version: '0',
    commands: [check],
    out: (text) => void (out += text),
    complain: (line) => void lines.push(`ecluse: ${line.replaceAll(file, 'FILE')}`),
  })
  return { code, lines, out }
}

test('there are bad configurations', () => {
  expect(NAMES.length).toBeGreaterThanOrEqual(25)
})

test.each(NAMES)('%s is refused with these words', async (name) => {
  const { code, lines, out } = await complaints(`${FOLDER}${name}.yaml`)
  expect(`${lines.join('\n')}\n`).toBe(readFileSync(`${FOLDER}${name}.expected`, 'utf8'))
  expect({ code, out }).toEqual({ code: 2, out: '' })
})
