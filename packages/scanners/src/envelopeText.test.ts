import { expect, test } from '@jest/globals'
import { envelopeText } from './envelopeText.ts'

test.each([
  ['a@example.org', 'a@example.org'],
  ['"a b"@x', '"a b"@x'],
  ['ü@x', '\xc3\xbc@x'],
  ['\u{1F600}@x', '\xf0\x9f\x98\x80@x'],
  ['caf\udce9@x', 'caf\xe9@x'],
  ['\udcff\udc80', '\xff\x80'],
  ['a\r\nBcc: b\0\x7f', 'a??Bcc: b??'],
])('writes %j byte for byte', (text, bytes) => {
  expect(envelopeText(text)).toBe(bytes)
})
