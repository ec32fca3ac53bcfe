import { expect, test } from '@jest/globals'
import { formatAddress, parseAddress } from './address.ts'
import { FilterError } from './errors.ts'

test.each([
  ['127.0.0.1:10024', { host: '127.0.0.1', port: 10_024 }],
  ['mail.example.org:25', { host: 'mail.example.org', port: 25 }],
  ['[::1]:0', { host: '::1', port: 0 }],
  ['[2001:db8::1]:65535', { host: '2001:db8::1', port: 65_535 }],
  ['unix:/run/a b.sock', { path: '/run/a b.sock' }],
])('%s is read, and written again', (text, address) => {
  expect(parseAddress(text)).toEqual(address)
  expect(formatAddress(address)).toBe(text)
})

test.each([
  '',
  ':25',
  '127.0.0.1',
  '127.0.0.1:',
  '127.0.0.1:65536',
  '127.0.0.1:-1',
  '127.0.0.1:1e3',
  '127.0.0.1:25 ',
  '127.0.0.1:000025',
  '::1:25',
  '[]:25',
  '[::1]',
  '[mail.example.org]:25',
  'http://127.0.0.1:25',
  'unix:',
  'unix:run/a.sock',
  'unix:/run/\0',
])('%j is refused', (text) => {
  expect(() => parseAddress(text)).toThrow(FilterError)
})
