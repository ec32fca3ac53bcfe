import { describe, expect, test } from '@jest/globals'
import { configSchema } from './config.ts'
import { scannerSection } from './configScanners.ts'
import { scannerKind } from './scanner.ts'
import { address, section, text } from './schema.ts'
import { describeKeys, keysAt, notesAt, rewriteInput } from './schemaWalk.ts'
import { CLEAN } from './verdict.ts'

const kind = scannerKind({
  kind: 'sample',
  description: 'A sample.',
  concerns: ['virus'],
  defaults: { timeout: '5s', onError: 'unchecked' },
  options: section('Options.', { address: address('Where.').prefault('127.0.0.1:1') }),
  create: () => ({ scan: async () => CLEAN, version: async () => ({ engine: 'sample' }) }),
})
const schema = configSchema([kind], 'mail.example.org')

function issuesOf(input: Record<string, unknown>): string[] {
  const { error } = schema.safeParse({ localDomains: [], ...input })
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`)
}

test('every key has a sentence and a notation', () => {
  const keys = [...describeKeys(schema), ...describeKeys(scannerSection(kind))]
  const bare = keys.filter(
    ({ description = '', notation }) => !description.endsWith('.') || notation === undefined,
  )
  expect(bare).toEqual([])
})

test('every default passes its own reader', () => {
  const filled = rewriteInput(schema, { localDomains: [] }, { defaults: true })
  expect(schema.parse(filled)).toEqual(schema.parse({ localDomains: [] }))
})

test('only localDomains must be given', () => {
  const required = describeKeys(schema).filter(({ required, path }) => required && !path.includes('[]'))
  // Inside of sections that may be left out, keys may be required.
  expect(required.map(({ path }) => path)).toEqual(['localDomains', 'console.url'])
})

test("a scanner has its kind's name, timeout and rule for failures by default", () => {
  const { scanners } = schema.parse({ localDomains: [], scanners: [{ kind: 'sample' }] })
  expect(scanners).toEqual([
    {
      name: 'sample',
      kind: 'sample',
      timeout: 5000,
      onError: 'unchecked',
      breaker: { failures: 5, retryAfter: 30_000 },
      options: { address: { host: '127.0.0.1', port: 1 } },
    },
  ])
})

test('a kind cannot redefine a key of all scanners', () => {
  const clashing = { ...kind, options: section('Options.', { timeout: text('Mine.') }) }
  expect(() => configSchema([clashing], 'mail.example.org')).toThrow(TypeError)
})

describe('rules between keys', () => {
  test.each([
    [{ policy: { tagLevel: 6.3 } }, 'policy.tag2Level: expected at least tagLevel (6.3)'],
    [
      { policy: { virusNames: { 'Phish*': 1e300 } } },
      'policy.virusNames.Phish*: expected a number of points',
    ],
    [{ policy: { killLevel: 6.1 } }, 'policy.killLevel: expected at least tag2Level (6.2)'],
    [{ limits: { deadline: '100s' } }, 'reinject.dotTimeout: expected at most limits.deadline (100s)'],
    [
      { scanners: [{ kind: 'sample', timeout: '301s' }] },
      'scanners.0.timeout: expected at most limits.deadline (300s)',
    ],
    [{ scanners: [{ kind: 'sample' }, { kind: 'sample' }] }, 'scanners.1.name: the same as scanners[0].name'],
    [
      { listen: [{ address: '127.0.0.1:1' }, { address: '127.0.0.1:1' }] },
      'listen.1.address: the same as listen[0].address',
    ],
    [
      { reinject: { address: 'localhost:10024' }, listen: [{ address: '[::]:10024' }] },
      'reinject.address: localhost:10024 is where listen[0] takes mail: mail would go in circles',
    ],
    [
      { reinject: { address: 'unix:/a' }, listen: [{ address: 'unix:/a' }] },
      'reinject.address: unix:/a is where listen[0] takes mail: mail would go in circles',
    ],
    [{ http: { address: '0.0.0.0:10024' } }, 'http.address: 0.0.0.0:10024 is where listen[0] takes mail'],
    [
      { spool: { directory: '/var/lib/ecluse/quarantine/spool/' } },
      'quarantine.directory: expected a folder apart from spool.directory',
    ],
    [
      { ledger: { ttl: '23h' }, notices: { recipients: true } },
      'ledger.ttl: expected at least 1d with notices.recipients',
    ],
    [
      { ledger: { directory: '/var/spool/ecluse' } },
      'ledger.directory: expected a folder apart from spool.directory',
    ],
    [
      { ledger: { directory: '/var/lib/ecluse/quarantine/ledger' } },
      'ledger.directory: expected a folder apart from quarantine.directory',
    ],
  ])('%j breaks one', (input, expected) => {
    expect(issuesOf(input)).toEqual([expected])
  })

  test.each([
    [{ policy: { tagLevel: 5, tag2Level: 5, killLevel: 5 } }],
    [{ scanners: [{ kind: 'sample', timeout: '300s' }] }],
    [{ reinject: { address: 'next.example.org:10024' } }],
    [{ listen: [{ address: '127.0.0.1:0' }], http: { address: '127.0.0.1:0' } }],
    [{ spool: { directory: '/var/lib/ecluse/spool' } }],
  ])('%j breaks none', (input) => {
    expect(issuesOf(input)).toEqual([])
  })
})

test('the notes and keys of a path are those of the kind that was chosen', () => {
  const input = { scanners: [{ kind: 'sample' }] }
  expect(notesAt(schema, input, ['scanners', 0, 'address'])?.notation).toBe('address')
  expect(keysAt(schema, input, ['scanners', 0])).toEqual([
    'name',
    'kind',
    'timeout',
    'maxSize',
    'concurrency',
    'onError',
    'backupFor',
    'breaker',
    'address',
  ])
  expect(notesAt(schema, input, ['scanners', 0, 'toString'])).toBeUndefined()
  expect(keysAt(schema, {}, ['scanners', 0])).toEqual([])
  expect(keysAt(schema, input, ['policy', 'destiny'])).toContain('bad-header')
})
