import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { check } from './commands/check.ts'
import { runCommand } from './run.ts'

/** A folder for each kind of mistake; what their configurations name lies in folders of its own below. */
const FOLDER = fileURLToPath(new URL('../../../fixtures/configs/bad/', import.meta.url))
const KINDS = [
  'syntax',
  'keys',
  'types',
  'limits',
  'places',
  'scanners',
  'secrets',
  'policy',
  'policies',
  'senders',
  'lists',
  'files',
]

function namesOf(kind: string): string[] {
  return readdirSync(`${FOLDER}${kind}`)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
}

async function complaints(
  folder: string,
  name: string,
): Promise<{ code: number; lines: string[]; out: string }> {
  const file = `${folder}${name}.yaml`
  const lines: string[] = []
  let out = ''
  const code = await runCommand(['check', '--config', file], {
    kinds: SAMPLE_KINDS,
    env: {},
    hostname: 'mail.example.org',
    version: '0',
    commands: [check],
    out: (text) => void (out += text),
    complain: (line) => void lines.push(`ecluse: ${line.replaceAll(file, 'FILE').replaceAll(folder, '')}`),
  })
  return { code, lines, out }
}

test('every kind of mistake has a folder, and every folder is of a kind', () => {
  const folders = readdirSync(FOLDER).filter((name) => !name.startsWith('.'))
  expect(folders.toSorted()).toEqual(KINDS.toSorted())
})

describe.each(KINDS)('%s:', (kind) => {
  const names = namesOf(kind)

  test('there are ten of them', () => {
    expect(names.length).toBeGreaterThanOrEqual(10)
  })

  test.each(names)('%s is refused with these words', async (name) => {
    const folder = `${FOLDER}${kind}/`
    const { code, lines, out } = await complaints(folder, name)
    expect(`${lines.join('\n')}\n`).toBe(readFileSync(`${folder}${name}.expected`, 'utf8'))
    expect({ code, out }).toEqual({ code: 2, out: '' })
  })
})
