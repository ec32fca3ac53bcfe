import { expect, test } from '@jest/globals'
import { configSchema, type Config } from '@ecluse/core'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import { configChanges } from './configChanges.ts'

const BASE = { localDomains: ['example.org'], scanners: [{ kind: 'clamd' }] }

function parse(input: Readonly<Record<string, unknown>>): Config {
  return configSchema(SAMPLE_KINDS, 'mail.example.org').parse({ ...BASE, ...input })
}

test.each<[string, Record<string, unknown>, string[], string[]]>([
  ['nothing', {}, [], []],
  ['a default in words', { alertHeader: 'X-Ecluse-Alert', limits: { concurrency: 50 } }, [], []],
  ['policy', { policy: { killLevel: 20 } }, ['policy'], []],
  ['local domains', { localDomains: [] }, ['localDomains'], []],
  ['networks', { networks: [] }, ['networks'], []],
  ['a scanner', { scanners: [{ kind: 'clamd', timeout: '5s' }] }, ['scanners'], []],
  ['the alert header', { alertHeader: 'X-Amavis-Alert' }, ['alertHeader'], []],
  ['how failures are counted', { limits: { scanFailures: 5 } }, ['limits'], []],
  ['a breaker', { scanners: [{ kind: 'clamd', breaker: { failures: 9 } }] }, ['scanners'], []],
  ['two limits', { limits: { deadline: '200s', drain: '1s' } }, ['limits'], []],
  ['a limit of a listener', { limits: { recipients: 100 } }, [], ['limits.recipients']],
  ['both', { limits: { drain: '1s', idle: '60s' } }, ['limits'], ['limits.idle']],
  ['the level of the log', { log: { level: 'debug' } }, ['log'], []],
  ['its format', { log: { format: 'text' } }, [], ['log.format']],
  ['the size of the memory', { cache: { maxEntries: 0 } }, ['cache'], []],
  ['how often scanners are asked', { cache: { versionInterval: '5s' } }, [], ['cache.versionInterval']],
  ['the name', { hostname: 'other.example.org' }, [], ['hostname']],
  ['a listener', { listen: [{ address: '127.0.0.1:1' }] }, [], ['listen']],
  ['the next hop', { reinject: { connections: 3 } }, [], ['reinject']],
  ['HTTP', { http: { address: '127.0.0.1:1' } }, [], ['http']],
  ['the spool', { spool: { directory: '/s' } }, [], ['spool']],
  [
    'the quarantine',
    { quarantine: { directory: '/q', keep: '1h' } },
    [],
    ['quarantine.directory', 'quarantine.keep'],
  ],
])('tells what can be put in force and what needs a restart: %s', (_, input, applied, needRestart) => {
  const [before, after] = [parse({}), parse(input)]
  expect(configChanges({ started: before, inForce: before }, after)).toEqual({ applied, needRestart })
  // And back again.
  expect(configChanges({ started: after, inForce: after }, before)).toEqual({ applied, needRestart })
})

test('a key that needs a restart is told again, one that is in force is not', () => {
  const [started, inForce] = [parse({}), parse({ policy: { killLevel: 20 }, hostname: 'a.example.org' })]
  expect(configChanges({ started, inForce }, inForce)).toEqual({ applied: [], needRestart: ['hostname'] })
  expect(configChanges({ started, inForce }, started)).toEqual({ applied: ['policy'], needRestart: [] })
})
