import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { loadConfig } from '../src/loadConfig.ts'
import { describeError } from '../src/terminal.ts'
import { SAMPLE_KINDS } from './sampleKinds.ts'

export const LOCAL = 'localDomains: [example.org]\n'
/** Three lines without a warning. */
export const ORDINARY = `${LOCAL}scanners: [{ kind: clamd }]\nquarantine: { keep: 30d }\n`

/** What `check` warns of, for the configuration `source` in a folder with a file `list`; places without the folder. */
export async function warningsOf(source: string, list = ''): Promise<string[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
  try {
    const file = path.join(folder, 'ecluse.yaml')
    writeFileSync(file, source)
    writeFileSync(path.join(folder, 'list'), list)
    const loaded = await loadConfig(file, { kinds: SAMPLE_KINDS, env: {}, hostname: 'mail.example.org' })
    if ('errors' in loaded) throw new Error(loaded.errors.map(describeError).join('\n'))
    return loaded.warnings.map((warning) =>
      describeError(warning).replace(`${folder}/`, '').replace('ecluse.yaml:', ''),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
}
