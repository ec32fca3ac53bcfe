import { expect, test } from '@jest/globals'
import { readLearnReply, readRspamdReply } from './rspamdReply.ts'

const reply = (changes: object): string =>
  JSON.stringify({
    is_skipped: false,
    score: 2.4,
    required_score: 15,
    action: 'no action',
    symbols: {},
    ...changes,
  })

test.each<[string, object, object]>([
  ['add header', { action: 'add header', score: 7 }, { points: 7, required: 15 }],
  ['reject below the threshold', { action: 'reject', score: 1 }, { points: 15 }],
  ['reject above it', { action: 'reject', score: 20 }, { points: 20 }],
  ['discard', { action: 'discard' }, { points: 15 }],
  ['quarantine', { action: 'quarantine', required_score: 12 }, { points: 12, required: 12 }],
  ['reject without a threshold', { action: 'reject', required_score: null }, { points: 15 }],
  ['soft reject', { action: 'soft reject', score: 1 }, { points: 1 }],
  ['greylist', { action: 'greylist', score: 4.123_4 }, { points: 4.123 }],
  ['skipped, but refused', { is_skipped: true, action: 'reject', score: 0 }, { points: 15 }],
  ['hostile names', { symbols: { 'a b=\n': { score: 1 } } }, { symbols: [{ name: 'a_b__', score: 1 }] }],
])('reads %s', (_, changes, finding) => {
  expect(readRspamdReply(reply(changes), 'bob@example.com')).toMatchObject({
    findings: [{ kind: 'score', ...finding }],
  })
})

test('reads a name that objects have anyway', () => {
  const text = reply({}).replace(
    '"symbols":{}',
    '"symbols":{"__proto__":{"score":3},"constructor":{"score":1}}',
  )
  expect(readRspamdReply(text, 'bob@example.com')).toMatchObject({
    findings: [{ symbols: [{ score: 3 }, { score: 1 }] }],
  })
})

test('what its own settings skipped has no score', () => {
  expect(readRspamdReply(reply({ is_skipped: true, score: 0 }), 'bob@example.com')).toEqual({ findings: [] })
})

test.each([
  ['nothing', ''],
  ['half', reply({}).slice(0, -1)],
  ['two', reply({}) + reply({})],
  ['null', 'null'],
  ['a list', '[]'],
  ['text', '"stream: OK"'],
  ['an error', '{"error":"invalid command","error_domain":"protocol-error"}'],
  ['a score in words', reply({ score: '2.4' })],
  ['no score', reply({ score: undefined })],
  ['no action', reply({ action: undefined })],
  ['NaN', reply({}).replace('2.4', 'NaN')],
  ['a number beyond all', reply({}).replace('2.4', '1e999')],
  ['a huge number', reply({ score: 1e12 })],
  ['a huge symbol', reply({ symbols: { A: { score: -1e12 } } })],
  ['a threshold in words', reply({ required_score: '15' })],
  ['no symbols', reply({ symbols: undefined })],
  ['a list of symbols', reply({ symbols: [] })],
  ['symbols without score', reply({ symbols: { A: {} } })],
  ['symbols that are numbers', reply({ symbols: { A: 1 } })],
])('refuses %s', (_, text) => {
  expect(() => readRspamdReply(text, 'bob@example.com')).toThrow(
    expect.objectContaining({ code: 'E_SCANNER_PROTOCOL' }),
  )
})

test.each([
  ['learned', 200, '{"success":true}', true],
  ['known', 208, '{"error":"<x@y> has been already learned as ham, ignore it"}', false],
  ['known, of an older rspamd', 404, '{"error":"all learn conditions denied: already learned"}', false],
])('reads of a message to learn: %s', (_, status, body, learned) => {
  expect(readLearnReply({ status, body })).toBe(learned)
})

test.each([
  ['a wrong password', 401, '{"error":"Unauthorized"}', 'rspamd: 401: Unauthorized'],
  ['a reason that is none of text', 500, '{"error":{"a":1}}', 'rspamd: 500'],
  ['control characters', 400, '{"error":"a\\u001b[2Jb"}', 'rspamd: 400: a?[2Jb'],
  ['no success', 200, '{}', 'rspamd: 200'],
  ['a page', 200, '<html>', 'rspamd: 200'],
  ['null', 200, 'null', 'rspamd: 200'],
  ['nothing', 204, '', 'rspamd: 204'],
])('refuses of a message to learn: %s', (_, status, body, message) => {
  expect(() => readLearnReply({ status, body })).toThrow(
    expect.objectContaining({ code: 'E_SCANNER_PROTOCOL', message }),
  )
})
