import { join } from 'node:path'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { explain } from '../src/commands/explain.ts'
import type { Explanation } from '../src/explain/explanation.ts'
import { runCommand } from '../src/run.ts'

export const ROOT = join(import.meta.dirname, '../../..')

/** What a command wrote. */
export interface Ran {
  readonly code: number
  readonly out: string
  /** Lines of stderr. */
  readonly lines: readonly string[]
}

/** Runs `ecluse explain` in this process. */
export async function runExplain(...argv: readonly string[]): Promise<Ran> {
  let out = ''
  const lines: string[] = []
  const code = await runCommand(['explain', ...argv], {
    kinds: SCANNER_KINDS,
    env: {},
    hostname: 'filter.example.org',
    version: '1.2.3',
    commands: [explain],
    out: (text) => void (out += text),
    complain: (line) => void lines.push(line),
  })
  return { code, out, lines }
}

/** The same with `--json`, read. @throws Error when it did not do well */
export async function explained(...argv: readonly string[]): Promise<Explanation> {
  const { code, out, lines } = await runExplain(...argv, '--json')
  if (code !== 0) throw new Error(lines.join('\n'))
  return JSON.parse(out) as Explanation
}

/** What changes from run to run, and from machine to machine, put out of the way. */
export function masked(text: string): string {
  const [, id = 'ID'] = /^ {2}id +([\w-]{12}) |"id": "([\w-]{12})"/m.exec(text)?.filter((part) => part) ?? []
  return text
    .replaceAll(id, 'ID')
    .replaceAll(ROOT, 'ROOT')
    .replace(/\w{3},(\s\+?\s?|\\r\\n )\d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000/g, 'DATE')
    .replace(/\b\d+ ms\b/g, 'N ms')
    .replace(/"elapsedMs": \d+/g, '"elapsedMs": 0')
}
