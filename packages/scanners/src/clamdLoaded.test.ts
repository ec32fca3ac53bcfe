import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { appendFile, mkdir, mkdtemp, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FilterError, type LoadedSignatures } from '@ecluse/core'
import { clamdFiles } from './clamdDatabase.ts'
import { ClamdSessions } from './clamdSession.ts'
import { clamdLoaded, readWords, settling } from './clamdLoaded.ts'

/** As ClamAV 1.4.3 answers. */
const STATS =
  '2: POOLS: 1\n\nSTATE: VALID PRIMARY\nTHREADS: live 1  idle 0 max 10 idle-timeout 30\nQUEUE: 0 items\n\tSTATS 0.000024 \n\nMEMSTATS: heap N/A mmap N/A used N/A free N/A releasable N/A pools 1 pools_used 5.885M pools_total 5.968M\nEND\0'

describe('what clamd says of itself', () => {
  test.each([
    ['ClamAV 1.4.3\0', { version: 'ClamAV 1.4.3' }],
    [
      '1: ClamAV 1.4.3/27500/Mon Nov 23 09:01:02 2026\0',
      { version: 'ClamAV 1.4.3/27500/Mon Nov 23 09:01:02 2026' },
    ],
    [`1: ClamAV 1.4.3\0${STATS}`, { version: 'ClamAV 1.4.3', memory: '5.885M pools_total 5.968M' }],
    ['1: ClamAV 1.4.3\x002: MEMSTATS: heap N/A pools N/A\nEND\0', { version: 'ClamAV 1.4.3' }],
  ])('%j', (reply, expected) => {
    expect(readWords(reply)).toEqual(expected)
  })

  test.each(['', 'ClamAV 1.4.3', 'UNKNOWN COMMAND\0', '2: POOLS: 1\0', `ClamAV ${'x'.repeat(201)}\0`])(
    '%j is no answer',
    (reply) => {
      expect(() => readWords(reply)).toThrow(FilterError)
    },
  )
})

describe('whether clamd works with its files', () => {
  const MINUTE_MS = 60_000
  const NOW = 1_000 * MINUTE_MS
  const files = (changedAt: number, startedAt?: number) => ({
    state: String(changedAt),
    changedAt,
    ...(startedAt !== undefined && { startedAt }),
  })
  const WORDS = { version: 'ClamAV 1.4.3/1/x', memory: '5M' }

  test.each([
    ['they are old', files(NOW - 15 * MINUTE_MS), 'for good'],
    ['they are young', files(NOW - MINUTE_MS), 'not'],
    ['they are young, and it is younger', files(NOW - MINUTE_MS, NOW - MINUTE_MS / 2), 'for good'],
    ['it was started just before they changed', files(NOW - MINUTE_MS, NOW - MINUTE_MS - 999), 'so far'],
    ['it was started just after they changed', files(NOW - MINUTE_MS, NOW - MINUTE_MS + 999), 'so far'],
    ['it is older than they are', files(NOW - MINUTE_MS, NOW - 2 * MINUTE_MS), 'not'],
  ])('%s: %#', (_, of, expected) => {
    expect(settling(() => NOW)(of, WORDS)).toBe(expected)
  })

  test.each([
    ['another version', { version: 'ClamAV 1.4.3/2/x', memory: '5M' }, 'so far'],
    ['another amount of memory', { version: 'ClamAV 1.4.3/1/x', memory: '6M' }, 'so far'],
    ['the same', WORDS, 'not'],
  ])('after a change it says %s', (_, then, expected) => {
    const howSettled = settling(() => NOW)
    expect(howSettled(files(NOW - 60 * MINUTE_MS), WORDS)).toBe('for good')
    expect(howSettled(files(NOW - 1), WORDS)).toBe('not')
    expect(howSettled(files(NOW - 1), then)).toBe(expected)
    expect(howSettled(files(NOW - 1), then)).toBe(expected)
    expect(howSettled(files(NOW), then)).toBe('not')
  })

  test('after a change it may load again for 15 minutes', () => {
    let now = NOW
    const howSettled = settling(() => now)
    const more = { ...WORDS, memory: '6M' }
    expect([howSettled(files(NOW), WORDS), howSettled(files(NOW), more)]).toEqual(['not', 'so far'])
    now += 15 * MINUTE_MS - 1
    expect(howSettled(files(NOW), more)).toBe('so far')
    now += 1
    expect(howSettled(files(NOW), more)).toBe('for good')
  })
})

describe('the files of its signatures', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'clamd-'))
    await writeFile(join(directory, 'main.cvd'), 'one')
  })
  afterEach(async () => {
    await rm(directory, { recursive: true })
  })
  const stateNow = async (): Promise<string | undefined> =>
    (await clamdFiles({ path: '/nobody/listens' }, directory)())?.state

  test.each<[string, () => Promise<void>]>([
    ['grows', () => appendFile(join(directory, 'main.cvd'), ' more')],
    ['is new', () => writeFile(join(directory, 'local.ndb'), '')],
    ['is removed', () => rm(join(directory, 'main.cvd'))],
    ['has another name', () => rename(join(directory, 'main.cvd'), join(directory, 'main.cld'))],
    [
      'is as long as before, and as old',
      async () => {
        await writeFile(join(directory, 'new'), 'two')
        await utimes(join(directory, 'new'), 1, 1)
        await rename(join(directory, 'new'), join(directory, 'main.cvd'))
      },
    ],
  ])('one that %s is seen', async (_, change) => {
    const before = await stateNow()
    expect(await stateNow()).toBe(before)
    await change()
    expect(await stateNow()).not.toBe(before)
  })

  test('folders in there do not count: freshclam works in some', async () => {
    const before = await stateNow()
    await mkdir(join(directory, 'tmp.1'))
    expect(await stateNow()).toBe(before)
  })

  test('a folder that is not there, or a clamd elsewhere, gives nothing', async () => {
    expect(await clamdFiles({ path: '/nobody/listens' }, join(directory, 'missing'))()).toBeUndefined()
    expect(await clamdFiles({ host: '192.0.2.1', port: 3310 })()).toBeUndefined()
  })

  describe('with a clamd', () => {
    let server: Server
    const questions: string[] = []
    let version = 'ClamAV 1.4.3/27500/x'
    let memory = '5.885M'
    beforeEach(async () => {
      version = 'ClamAV 1.4.3/27500/x'
      memory = '5.885M'
      questions.length = 0
      server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('data', (question) => {
          questions.push(question.toString('latin1'))
          const full = questions.at(-1)?.startsWith('zIDSESSION')
          const stats = STATS.replace('5.885M', memory)
          socket.end(full ? `1: ${version}\0${stats}` : `${version}\0`)
        })
      })
      await new Promise<void>((resolve) => {
        server.listen(join(directory, 'clamd.sock'), resolve)
      })
    })
    afterEach(async () => {
      await new Promise((resolve) => {
        server.close(resolve)
      })
    })
    const open = (): (() => Promise<LoadedSignatures>) => {
      const address = { path: join(directory, 'clamd.sock') }
      const ask = clamdLoaded(address, new ClamdSessions(address), directory)
      return async () => await ask(new AbortController().signal)
    }

    test('a change of its files is another state, uncertain until it says another version', async () => {
      const ask = open()
      const young = await ask()
      expect(young.isCertain).toBe(false)
      version = 'ClamAV 1.4.3/27501/x'
      const loaded = await ask()
      expect([loaded.isCertain, loaded.state === young.state]).toEqual([true, false])
      expect(await ask()).toEqual(loaded)
      await appendFile(join(directory, 'main.cvd'), 'more')
      const changed = await ask()
      expect([changed.isCertain, changed.state === loaded.state]).toEqual([false, false])
      expect(questions.at(-1)).toContain('STATS')
    })

    test('what was left for the next time, since it changed while clamd was loading, is another state when it is loaded', async () => {
      const ask = open()
      await ask()
      memory = '6.000M'
      const first = await ask()
      memory = '7.000M'
      const second = await ask()
      expect([first.isCertain, second.isCertain, first.state === second.state]).toEqual([true, true, false])
    })

    test('files that have been there for long cost the shorter question', async () => {
      const now = Date.now() + 15 * 60_000
      const clock = jest.spyOn(Date, 'now').mockReturnValue(now)
      const ask = open()
      const first = await ask()
      expect(await ask()).toEqual(first)
      clock.mockRestore()
      expect(first.isCertain).toBe(true)
      expect(questions.map((question) => question.split('\0', 1)[0])).toEqual(['zIDSESSION', 'zVERSION'])
    })

    test('one that is not there is a failure', async () => {
      const address = { path: join(directory, 'nobody') }
      const ask = clamdLoaded(address, new ClamdSessions(address), directory)
      await expect(ask(new AbortController().signal)).rejects.toMatchObject({ code: 'ENOENT' })
    })
  })
})
