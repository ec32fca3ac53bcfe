import { describe, expect, test } from '@jest/globals'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMAND_OCTETS, FilterStream } from './receiveStream.ts'

const FIXTURES = join(import.meta.dirname, '../../../../shared/fixtures/mail')

interface Read {
  /** Command lines, faults as `!fault`, bodies as `body:` and their bytes. */
  readonly events: string[]
  readonly write: (bytes: Buffer | string) => void
}

/** A stream that takes what follows a DATA line for a body, which `take` gets instead where there is one. */
function read(take?: (chunk: Buffer) => Promise<void> | undefined): Read {
  const events: string[] = []
  let body: Buffer[] = []
  const stream = new FilterStream({
    line: (line) => {
      events.push(line)
      if (line === 'DATA') stream.startBody()
    },
    fault: (fault) => events.push(`!${fault}`),
    body: (chunk) => {
      if (take) return take(chunk)
      body.push(chunk)
      return undefined
    },
    endBody: () => {
      events.push(`body:${Buffer.concat(body).toString('latin1')}`)
      body = []
    },
    flush: () => undefined,
  })
  return {
    events,
    // A copy: the stream may change what it is given.
    write: (bytes) =>
      stream.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : Buffer.from(bytes)),
  }
}

function eventsOf(pieces: readonly (Buffer | string)[]): string[] {
  const { events, write } = read()
  for (const piece of pieces) write(piece)
  return events
}

const ENDS = [
  '\n.\n',
  '\n.\r',
  '\r.\n',
  '\r.\r',
  '\n.\r\n',
  '\r.\r\n',
  '\r\n.\r',
  '\r\n.\n',
  '\r\n.\r\r\n',
  '\r\r\n.\r\r\n',
  '\r\n\0.\r\n',
]
const SMUGGLED = 'MAIL FROM:<evil@x>\r\nRCPT TO:<c@d>\r\nDATA\r\nevil'

test.each(
  ENDS.flatMap((end) => [
    [end, 'first line', `${end}${SMUGGLED}\r\n.\r\nQUIT\r\n`],
    [end, 'header', `A: b${end}${SMUGGLED}\r\n\r\nx\r\n.\r\nQUIT\r\n`],
    [end, 'body', `A: b\r\n\r\nx${end}${SMUGGLED}\r\n.\r\nQUIT\r\n`],
  ]),
)('takes %j in the %s for content, however it is cut', (_end, _place, text) => {
  const bytes = `DATA\r\n${text}`
  const content = text.slice(0, -'.\r\nQUIT\r\n'.length)
  // The dot of a line that follows CRLF goes, whatever comes behind it.
  const expected = ['DATA', `body:${content.replaceAll('\r\n.', '\r\n')}`, 'QUIT']
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    expect(eventsOf([bytes.slice(0, cut), bytes.slice(cut)])).toEqual(expected)
  }
  expect(eventsOf(bytes.split(''))).toEqual(expected)
})

test.each([
  ['nothing', '.\r\n', ''],
  ['one dot, stuffed', '..\r\n.\r\n', '.\r\n'],
  ['dots', '..\r\n...\r\n.a\r\n.\r\n', '.\r\n..\r\na\r\n'],
  ['a dot before CR', '.\rx\r\n.\r\n', '\rx\r\n'],
  ['a dot before CRCRLF', '.\r\r\n.\r\n', '\r\r\n'],
  ['NUL, bare CR and LF, 8-bit', '\0\r\n\n\n\r\r\xff\r\n.\r\n', '\0\r\n\n\n\r\r\xff\r\n'],
  ['a dot inside a line', 'a.\r\n.\r\n', 'a.\r\n'],
  ['an empty line before the end', '\r\n.\r\n', '\r\n'],
])('reads a body of %s, however it is cut', (_name, wire, body) => {
  const bytes = `NOOP\r\nDATA\r\n${wire}RSET\r\n`
  const expected = ['NOOP', 'DATA', `body:${body}`, 'RSET']
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    for (let other = cut; other <= Math.min(bytes.length, cut + 4); other += 1) {
      const pieces = [bytes.slice(0, cut), bytes.slice(cut, other), bytes.slice(other)]
      expect(eventsOf(pieces)).toEqual(expected)
    }
  }
  expect(eventsOf(bytes.split(''))).toEqual(expected)
})

test.each([
  ['at the end', 'NOOP\nRSET\r\nQUIT\r\n', ['!bare-lf', '!bare-lf', 'QUIT']],
  ['twice', 'NOOP\n\nRSET\r\nQUIT\r\n', ['!bare-lf', '!bare-lf', '!bare-lf', 'QUIT']],
  ['inside', 'RCPT TO:<a\nMAIL FROM:<b>\r\nQUIT\r\n', ['!bare-lf', '!bare-lf', 'QUIT']],
  ['behind LFCR', 'NOOP\n\rRSET\r\nQUIT\r\n', ['!bare-lf', '!bare-lf', 'QUIT']],
])('refuses a command with a bare LF %s, and what it would hide', (_name, bytes, expected) => {
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    expect(eventsOf([bytes.slice(0, cut), bytes.slice(cut)])).toEqual(expected)
  }
})

test('takes a line of the longest length, refuses one past it, and goes on', () => {
  const longest = 'x'.repeat(COMMAND_OCTETS)
  const bytes = `${longest}\r\n${longest}x\r\n${'y'.repeat(5 * COMMAND_OCTETS)}\r\nNOOP\r\n`
  const expected = [longest, '!too-long', '!too-long', 'NOOP']
  expect(eventsOf([bytes])).toEqual(expected)
  expect(eventsOf(bytes.split(''))).toEqual(expected)
  for (let cut = COMMAND_OCTETS - 3; cut < COMMAND_OCTETS + 6; cut += 1) {
    expect(eventsOf([bytes.slice(0, cut), bytes.slice(cut)])).toEqual(expected)
  }
})

test('keeps nothing of 100 MB without a line end', () => {
  const { events, write } = read()
  const chunk = Buffer.alloc(65_536, 'x')
  for (let sent = 0; sent < 16; sent += 1) write(chunk)
  const before = process.memoryUsage().heapUsed
  for (let sent = 0; sent < 1500; sent += 1) write(chunk)
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(50_000_000)
  write('\r\nNOOP\r\n')
  expect(events).toEqual(['!too-long', 'NOOP'])
})

test('does not run what is left of a line when the client hangs up', async () => {
  const seen: string[] = []
  const stream = new FilterStream({
    line: (line) => seen.push(line),
    fault: (fault) => seen.push(fault),
    body: () => undefined,
    endBody: () => undefined,
    flush: () => undefined,
  })
  stream.write('NOOP\r\nQUIT')
  await new Promise<void>((resolve) => {
    stream.end(resolve)
  })
  expect(seen).toEqual(['NOOP'])
})

test('waits for the sink before it reads on, also before the end', async () => {
  const waiting: (() => void)[] = []
  let taken = ''
  const { events, write } = read(
    async (chunk) =>
      await new Promise<void>((resolve) => {
        taken += chunk.toString('latin1')
        waiting.push(resolve)
      }),
  )
  write('DATA\r\nabc')
  write('def\r\n.\r\nNOOP\r\n')
  expect([events.length, waiting.length]).toEqual([1, 1])
  waiting[0]?.()
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect([events.length, waiting.length]).toEqual([1, 2])
  waiting[1]?.()
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect([taken, ...events]).toEqual(['abcdef\r\n', 'DATA', 'body:', 'NOOP'])
})

test('reads no more commands while the replies do not go out', async () => {
  const seen: string[] = []
  let drain: (() => void) | undefined
  const stream = new FilterStream({
    line: (line) => seen.push(line),
    fault: (fault) => seen.push(fault),
    body: () => undefined,
    endBody: () => undefined,
    flush: () =>
      drain
        ? undefined
        : new Promise((resolve) => {
            drain = resolve
          }),
  })
  stream.write(Buffer.from('ONE\r\n'))
  stream.write(Buffer.from('TWO\r\n'))
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect(seen).toEqual(['ONE'])
  drain?.()
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect(seen).toEqual(['ONE', 'TWO'])
})

test('hands on two megabytes of dot-stuffed lines in one piece for each segment', () => {
  let pieces = 0
  let sizeBytes = 0
  const { events, write } = read((chunk) => {
    pieces += 1
    sizeBytes += chunk.length
    return undefined
  })
  write('DATA\r\n')
  const segment = Buffer.from('..\r\n'.repeat(16_384))
  for (let sent = 0; sent < 32; sent += 1) write(segment)
  write('.\r\n')
  expect([pieces, sizeBytes]).toEqual([32, 32 * 16_384 * 3])
  expect(events).toHaveLength(2)
})

const fixtures = existsSync(FIXTURES)
  ? readdirSync(FIXTURES, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.parentPath !== FIXTURES)
      .map((entry) => join(entry.parentPath, entry.name))
  : []

// Skips where the real mails are not there.
;(fixtures.length > 0 ? describe : describe.skip)('with real mails (absent: shared/fixtures/mail)', () => {
  test('gives the same bytes of every one, however it is cut', () => {
    const random = randomFrom(42)
    expect(fixtures.length).toBeGreaterThan(300)
    for (const path of fixtures) {
      const content = readFileSync(path)
      const tail = content.subarray(-2).toString('latin1') === '\r\n' ? '' : '\r\n'
      const body = Buffer.concat([content, Buffer.from(tail)])
      // Stuffed by another rule than the one under test: line by line.
      const stuffed = body.toString('latin1').replaceAll(/(?<=^|\r\n)\./g, '..')
      const wire = Buffer.from(`DATA\r\n${stuffed}.\r\nQUIT\r\n`, 'latin1')
      const digest = createHash('sha256').update(body).digest('hex')
      for (let seed = 0; seed < 20; seed += 1) {
        // Short pieces too, but not megabytes of them.
        const longest = seed === 0 && wire.length < 10_000 ? 20 : 5000
        expect(digestOf(wire, longest, random)).toEqual([digest, 'QUIT'])
      }
    }
  })
})

function randomFrom(start: number): (below: number) => number {
  let seed = start
  return (below) => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
}

/** The digest of the body, and the command behind it. */
function digestOf(wire: Buffer, longest: number, random: (below: number) => number): string[] {
  const hash = createHash('sha256')
  const { events, write } = read((chunk) => {
    hash.update(chunk)
    return undefined
  })
  for (let at = 0; at < wire.length;) {
    const length = 1 + random(longest)
    write(wire.subarray(at, at + length))
    at += length
  }
  return [hash.digest('hex'), ...events.filter((event) => event === 'QUIT')]
}
