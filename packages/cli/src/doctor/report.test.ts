import { expect, test } from '@jest/globals'
import { formatDiagnosis, formatJson, formatSummary, warn, well, wrong } from './report.ts'

const HOSTILE = 'a\u001b[2J\n✓ b\u009b\u202e'

test('what is well is one line, and what is not has its cure below', () => {
  expect(formatDiagnosis(well('reinject', 'answers'))).toBe('✓ reinject: answers\n')
  expect(formatDiagnosis(warn('daemon', 'down', 'start it'))).toBe('! daemon: down\n  → start it\n')
  expect(formatDiagnosis(wrong('daemon', 'ill', 'see its log'))).toBe('✗ daemon: ill\n  → see its log\n')
})

test('text of servers stays one line and moves no cursor', () => {
  const shown = formatDiagnosis(wrong(HOSTILE, HOSTILE, HOSTILE))
  expect(shown.split('\n')).toHaveLength(3)
  // oxlint-disable-next-line no-control-regex -- looking for them is the purpose
  expect(shown).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/)
  // oxlint-disable-next-line no-control-regex -- looking for them is the purpose
  expect(formatJson([wrong(HOSTILE, HOSTILE, HOSTILE)])).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/)
})

test('long text is cut off', () => {
  expect(formatDiagnosis(well('x', 'y'.repeat(10_000))).length).toBeLessThan(700)
})

test('JSON is an array of check, ok, detail and cure', () => {
  expect(JSON.parse(formatJson([well('a', 'b'), warn('c', 'd', 'e'), wrong('f', 'g', 'h')]))).toEqual([
    { check: 'a', ok: true, detail: 'b' },
    { check: 'c', ok: true, warning: true, detail: 'd', cure: 'e' },
    { check: 'f', ok: false, detail: 'g', cure: 'h' },
  ])
  expect(JSON.parse(formatJson([]))).toEqual([])
})

test('the summary counts', () => {
  expect(formatSummary([well('a', ''), well('b', ''), wrong('c', '', '')])).toBe('3 checks: 2 ✓, 0 !, 1 ✗\n')
})
