import { expect, test } from '@jest/globals'
import { isAutomatic } from './automatic.ts'

test.each<[string, boolean]>([
  ['Subject: hello', false],
  ['Auto-Submitted: no', false],
  ['Auto-Submitted: NO (a person)', false],
  ['Auto-Submitted: auto-generated', true],
  ['auto-submitted:auto-replied', true],
  ['Auto-Submitted:\r\n auto-notified; owner-email="a@example.org"', true],
  ['Auto-Submitted: nothing-known', true],
  ['Precedence: bulk', true],
  ['Precedence: List', true],
  ['precedence : junk', true],
  ['Precedence: first-class', false],
  ['List-Id: News <news.example.net>', true],
  ['List-Unsubscribe: <https://example.net/>', true],
  ['X-Auto-Response-Suppress: All', true],
  ['X-Loop: a@example.org', true],
  ['Subject: Precedence: bulk', false],
  ['X-Note: see\r\n List-Id: none', false],
])('%j: %s', (field, automatic) => {
  expect(isAutomatic(Buffer.from(`From: a@example.org\r\n${field}\r\nTo: b@example.org\r\n\r\n`))).toBe(
    automatic,
  )
})

test('what stands in the body counts for nothing', () => {
  expect(isAutomatic(Buffer.from('Subject: x\r\n\r\n'))).toBe(false)
})
