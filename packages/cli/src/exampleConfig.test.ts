import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { configSchema, describeKeys, type Config } from '@ecluse/core'
import { parse, stringify } from 'yaml'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { loadConfig } from './loadConfig.ts'

const EXAMPLE = fileURLToPath(new URL('../../../deploy/ecluse.yaml', import.meta.url))
const SOURCE = readFileSync(EXAMPLE, 'utf8')
// A commented-out key follows its # at once; inside such a section two blanks and more do.
const COMPLETE = SOURCE.replace(/^( *)#(?=[a-zA-Z-]|  +\S)/gm, '$1')
const HOSTNAME = 'mail.example.org'
const KEYS = describeKeys(configSchema(SAMPLE_KINDS, HOSTNAME)).filter(
  // An overlay has the keys of the policy; an entry of senders has no score beside its action; Redis is in one place.
  ({ path: key }) =>
    !key.startsWith('policies[].policy.') &&
    key !== 'senders[].score' &&
    !/^redis\.(?:sentinel|cluster|database|tls)/.test(key),
)

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function load(source: string): Promise<{ config: Config; warnings: string[] }> {
  const file = path.join(folder, 'ecluse.yaml')
  writeFileSync(file, source)
  const loaded = await loadConfig(file, { kinds: SAMPLE_KINDS, env: {}, hostname: HOSTNAME })
  if ('errors' in loaded) throw new Error(loaded.errors.map(({ message }) => message).join('\n'))
  return { config: loaded.config, warnings: loaded.warnings.map(({ message }) => message) }
}

/** The value at `policy.tagLevel` or, of the first entry, `listen[].address`. */
function valueAt(root: unknown, key: string): unknown {
  return key
    .split(/\.|(?=\[\])/)
    .reduce<any>((value, step) => (step === '[]' ? value?.[0] : value?.[step]), root)
}

describe('deploy/ecluse.yaml', () => {
  test('loads without a warning', async () => {
    expect((await load(SOURCE)).warnings).toEqual([])
  })

  test('holds the defaults, but for the scanners, the domains, and how long copies are kept', async () => {
    const { config } = await load(SOURCE)
    const { config: defaults } = await load(
      'localDomains: [example.org, .example.net]\nquarantine: { keep: 30d }',
    )
    expect({ ...config, scanners: [] }).toEqual(defaults)
  })

  test('loads with everything that is commented out', async () => {
    const { config } = await load(COMPLETE)
    expect(config.scanners.map(({ kind }) => kind)).toEqual(['clamd', 'spamd', 'clamd', 'rspamd', 'test'])
    expect(config.redis?.url).toBe('redis://127.0.0.1:6379/0')
    expect(config.listen[0]?.tls?.key).toBe('/etc/ecluse/key.pem')
  })

  const parsed: unknown = parse(COMPLETE)
  test.each(KEYS.map(({ path: key }) => key))('has %s', (key) => {
    expect(valueAt(parsed, key)).toBeDefined()
  })

  const defaults = KEYS.filter(({ fallback }) => fallback !== undefined && typeof fallback !== 'object')
  test.each(defaults.map(({ path: key, fallback }) => [key, fallback] as const))(
    'shows the default of %s, %s',
    (key, fallback) => {
      expect(valueAt(parsed, key)).toBe(fallback)
    },
  )

  const words = SOURCE.replace(/\n *#* *# */g, ' ').replace(/\s+/g, ' ')
  test.each(KEYS.map(({ path: key, description = '' }) => [key, description] as const))(
    'tells what %s is',
    (_, description) => {
      expect(words).toContain(description)
    },
  )
})

test('a damaged file is refused or loads: it never breaks the reader', async () => {
  const file = path.join(folder, 'ecluse.yaml')
  const bytes = Buffer.from(stringify(parse(COMPLETE)))
  const damage = [
    '',
    '\t',
    '\0',
    ': ',
    '- ',
    '*a ',
    '&a ',
    '!!binary ',
    '? ',
    '[{',
    '"',
    '\xff',
    '<<: ',
    '%',
    '---\n',
  ]
  for (let i = 0; i < damage.length; i++) {
    const at = (i * 7919) % bytes.length
    const rest = i % 2 === 0 ? Buffer.alloc(0) : bytes.subarray(at + 1)
    writeFileSync(
      file,
      Buffer.concat([bytes.subarray(0, at), Buffer.from(damage[i % damage.length] ?? '', 'latin1'), rest]),
    )
    const loaded = await loadConfig(file, { kinds: SAMPLE_KINDS, env: {}, hostname: HOSTNAME })
    const errors = 'errors' in loaded ? loaded.errors : []
    expect(errors.filter(({ code, place }) => code !== 'E_CONFIG' || place?.file !== file)).toEqual([])
  }
})
