import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { readReleaseLink, releaseLink } from './releaseLink.ts'

const MAKER = {
  url: 'https://mail.example.org/quarantine',
  secret: 'correct horse battery staple, 32 and more',
}
const ABOUT = { id: 'Abc-123_xyZ9', recipient: 'anna+x@example.org' }

const targetOf = (link: string): string => link.slice('https://mail.example.org'.length)

test('is ASCII that programs find in plain text', () => {
  expect(releaseLink(MAKER, { ...ABOUT, recipient: "o'né(x)!*+&=@example.org" })).toMatch(
    /^https:\/\/mail\.example\.org\/quarantine\/release\/Abc-123_xyZ9\?to=o%27n%C3%A9%28x%29%21%2A%2B%26%3D%40example\.org&key=[\w-]{43}$/,
  )
})

test('there is none for an address with bytes that are no characters', () => {
  expect(releaseLink(MAKER, { ...ABOUT, recipient: 'a\udce9@example.org' })).toBeUndefined()
})

test('is read as it was written, for any address', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }), (recipient) => {
      const link = releaseLink(MAKER, { ...ABOUT, recipient })
      const read = link === undefined ? undefined : readReleaseLink(MAKER, targetOf(link))?.recipient
      expect(read).toBe(/\p{Cs}/u.test(recipient) ? undefined : recipient)
    }),
  )
})

test('is read where the proxy cuts the path off', () => {
  const target = targetOf(releaseLink(MAKER, ABOUT) ?? '').replace('/quarantine', '')
  expect(readReleaseLink(MAKER, target)).toEqual(ABOUT)
  expect(readReleaseLink({ ...MAKER, url: 'http://mail.example.org:8080' }, target)).toEqual(ABOUT)
})

const GOOD = targetOf(releaseLink(MAKER, ABOUT) ?? '')

test.each([
  ['another key', GOOD.slice(0, -1) + (GOOD.endsWith('A') ? 'B' : 'A')],
  ['no key', GOOD.replace(/&key=.*/, '')],
  ['two keys', `${GOOD}&key=x`],
  ['the same key twice', `${GOOD}${/&key=.*/.exec(GOOD)?.[0]}`],
  ['two recipients', `${GOOD}&to=eve%40example.org`],
  ['another recipient', GOOD.replace('anna', 'eve')],
  ['a recipient with more', GOOD.replace('&key', '%0D%0A&key')],
  ['another id', GOOD.replace('xyZ9', 'xyZ8')],
  ['a longer id', GOOD.replace('xyZ9', 'xyZ99')],
  ['an id that climbs', GOOD.replace('Abc-123_xyZ9', '../../x')],
  ['an encoded id that climbs', GOOD.replace('Abc-123_xyZ9', '..%2F..%2Fx')],
  ['a NUL', GOOD.replace('xyZ9', 'xyZ9%00')],
  ['an id of 10 kB', GOOD.replace('Abc-123_xyZ9', 'A'.repeat(10_000))],
  ['a broken percent sign', GOOD.replace('%40', '%4')],
  ['another path', GOOD.replace('/release/', '/delete/')],
  ['another base', GOOD.replace('/quarantine', '/quarantines')],
  ['a second question mark', GOOD.replace('?', '??')],
  ['a whole URL', `http://evil.example${GOOD}`],
  ['nothing', ''],
])('is none: %s', (_, target) => {
  expect(readReleaseLink(MAKER, target)).toBeUndefined()
})

test('nothing else is one, whatever it is', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (target) => {
      expect(readReleaseLink(MAKER, target)).toBeUndefined()
    }),
  )
})
