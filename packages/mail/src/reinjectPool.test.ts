import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, describe, expect, test } from '@jest/globals'
import { EVIL_TLS, type EvilMta, type EvilMtaOptions } from '@ecluse/fixtures'
import type { ReinjectOptions } from './reinject.ts'
import {
  PATIENT,
  LONG,
  TEXT,
  brief,
  closeAll,
  closeLater,
  deliverOne,
  fromStream,
  inMemory,
  start,
  until,
} from './reinject.testkit.ts'

afterEach(closeAll)

describe('the pool', () => {
  test('opens no more than it may and serves in order', async () => {
    const { mta, reinjector } = await start({}, { connections: 2 })
    const results = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => await deliverOne(reinjector, inMemory(`${i}\r\n`))),
    )
    expect(brief(results.flat())).toEqual(Array.from({ length: 20 }, () => 'relayed'))
    expect(mta.sessions).toHaveLength(2)
    for (const { transactions } of mta.sessions) {
      const seen = transactions.map(({ data }) => Number.parseInt(data.toString(), 10))
      expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    }
  })

  test.each<[string, (mta: EvilMta) => void, EvilMtaOptions]>([
    ['closed by the peer', (mta) => mta.sessions[0]?.socket.end(), {}],
    ['reset by the peer', (mta) => mta.sessions[0]?.socket.resetAndDestroy(), {}],
    ['ended by 421', (mta) => mta.sessions[0]?.socket.write('421 4.4.2 timeout\r\n'), {}],
    [
      'answering 421 to the next message',
      () => undefined,
      {
        act: ({ stage, session, transaction }) =>
          session === 1 && stage === 'mail' && transaction === 2 ? '421 4.4.2 timeout' : undefined,
        extensions: ['PIPELINING'],
      },
    ],
    [
      'dropped at the next message',
      () => undefined,
      {
        act: ({ stage, session, transaction }) =>
          session === 1 && stage === 'mail' && transaction === 2 ? { do: 'drop' } : undefined,
        extensions: ['PIPELINING'],
      },
    ],
  ])('delivers once over a fresh connection when a kept one was %s', async (_, kill, evil) => {
    const { mta, reinjector } = await start(evil)
    await deliverOne(reinjector)
    kill(mta)
    expect(brief(await deliverOne(reinjector))).toEqual(['relayed'])
    expect(mta.sessions).toHaveLength(2)
    expect(mta.transactions.filter(({ complete }) => complete)).toHaveLength(2)
  })

  test('does not try again after an answer, nor a second time', async () => {
    const answered = await start({
      extensions: ['PIPELINING'],
      act: ({ stage, transaction }) => (stage === 'rcpt' && transaction === 2 ? { do: 'end' } : undefined),
    })
    await deliverOne(answered.reinjector)
    expect(brief(await deliverOne(answered.reinjector))).toEqual(['failed:E_REINJECT_LOST'])
    expect(answered.mta.sessions).toHaveLength(1)
    const dying = await start({
      extensions: ['PIPELINING'],
      act: ({ stage, session, transaction }) =>
        stage === 'mail' && (session > 1 || transaction > 1) ? { do: 'end' } : undefined,
    })
    await deliverOne(dying.reinjector)
    expect(brief(await deliverOne(dying.reinjector))).toEqual(['failed:E_REINJECT_LOST'])
    expect(dying.mta.sessions).toHaveLength(2)
  })

  test('changes the connection after so many messages, or so long without any', async () => {
    const many = await start({}, { timeouts: { ...PATIENT, messagesPerConnection: 2 } })
    for (let i = 0; i < 4; i++) await deliverOne(many.reinjector)
    expect(many.mta.sessions.map(({ transactions }) => transactions.length)).toEqual([2, 2])
    expect(many.mta.sessions[0]?.commands.at(-1)).toBe('QUIT')
    const seldom = await start({}, { timeouts: { ...PATIENT, idleMs: 20 } })
    await deliverOne(seldom.reinjector)
    await until(() => seldom.mta.open === 0)
    expect(seldom.mta.sessions[0]?.commands.at(-1)).toBe('QUIT')
    expect(brief(await deliverOne(seldom.reinjector))).toEqual(['relayed'])
  })

  test('fails all that wait at the first refused connection when none is open', async () => {
    const { mta, reinjector } = await start(
      { act: ({ stage }) => (stage === 'connect' ? '554 5.3.2 closed' : undefined) },
      { connections: 2 },
    )
    const results = await Promise.all(Array.from({ length: 30 }, async () => await deliverOne(reinjector)))
    expect(new Set(results.flatMap(brief))).toEqual(new Set(['failed:E_REINJECT_CONNECT']))
    expect(mta.sessions.length).toBeLessThanOrEqual(2)
  })

  test('lets who waits have an open connection when no second one can be had', async () => {
    const { mta, reinjector } = await start(
      {
        act: ({ stage, session }) =>
          stage === 'connect' && session > 1 ? '421 4.7.0 too many connections' : undefined,
      },
      { connections: 5 },
    )
    await deliverOne(reinjector)
    const results = await Promise.all(Array.from({ length: 10 }, async () => await deliverOne(reinjector)))
    expect(new Set(results.flatMap(brief))).toEqual(new Set(['relayed']))
    expect(mta.sessions.length).toBeLessThanOrEqual(11)
  })

  test('closes idle connections at once, busy ones when they are done', async () => {
    let release: (() => void) | undefined
    const { mta, reinjector } = await start({}, { connections: 2 })
    await deliverOne(reinjector)
    const source = new Readable({ read() {} })
    release = () => {
      source.push(Buffer.from(TEXT))
      source.push(null)
    }
    const busy = deliverOne(reinjector, fromStream(source, TEXT.length))
    await until(() =>
      mta.sessions.some(({ commands }) => commands.filter((command) => command === 'DATA').length === 2),
    )
    const closed = reinjector.close()
    release()
    expect(brief(await busy)).toEqual(['relayed'])
    await closed
    await until(() => mta.open === 0)
    expect(brief(await deliverOne(reinjector))).toEqual(['failed:E_REINJECT_CONNECT'])
    await reinjector.close()
  })

  test('gives banner and extensions to a probe, and quits', async () => {
    const { mta, reinjector } = await start({ extensions: ['PIPELINING', 'SIZE 42'] })
    expect(await reinjector.probe(AbortSignal.timeout(LONG))).toEqual({
      banner: 'evil.example ESMTP',
      extensions: ['PIPELINING', 'SIZE 42'],
    })
    await until(() => mta.open === 0)
    expect(mta.sessions[0]?.commands).toEqual(['EHLO filter.example', 'QUIT'])
  })
})

describe('the way there', () => {
  test.each(['smtp', 'lmtp'] as const)('can be a Unix socket (%s)', async (protocol) => {
    const directory = await mkdtemp(join(tmpdir(), 'ecluse-'))
    closeLater(async () => await rm(directory, { recursive: true }))
    const path = join(directory, 'mta')
    const { reinjector } = await start({ protocol, path })
    const results = await deliverOne(reinjector)
    expect(results).toMatchObject([{ outcome: 'relayed', mta: `${protocol}:[unix:${path}]` }])
  })

  const ca = Buffer.from(EVIL_TLS.cert)
  test.each<[string, EvilMtaOptions, NonNullable<ReinjectOptions['tls']>, string, boolean]>([
    ['off, offered', { tls: EVIL_TLS }, { mode: 'off' }, 'relayed', false],
    ['may, offered', { tls: EVIL_TLS }, { mode: 'may' }, 'relayed', true],
    ['may, not offered', {}, { mode: 'may' }, 'relayed', false],
    [
      'may, refused',
      { tls: EVIL_TLS, act: ({ stage }) => (stage === 'starttls' ? '454 4.7.0 no' : undefined) },
      { mode: 'may' },
      'relayed',
      false,
    ],
    [
      'require, trusted',
      { tls: EVIL_TLS },
      { mode: 'require', ca, servername: 'localhost' },
      'relayed',
      true,
    ],
    ['require, by address', { tls: EVIL_TLS }, { mode: 'require', ca }, 'relayed', true],
    ['require, not trusted', { tls: EVIL_TLS }, { mode: 'require' }, 'failed:E_REINJECT_CONNECT', true],
    [
      'require, another name',
      { tls: EVIL_TLS },
      { mode: 'require', ca, servername: 'other.example' },
      'failed:E_REINJECT_CONNECT',
      true,
    ],
    [
      'require, trust waived',
      { tls: EVIL_TLS },
      { mode: 'require', rejectUnauthorized: false },
      'relayed',
      true,
    ],
    ['require, not offered', {}, { mode: 'require' }, 'failed:E_REINJECT_CONNECT', false],
    [
      'bytes in clear behind STARTTLS',
      { tls: EVIL_TLS, act: ({ stage }) => (stage === 'starttls' ? '220 go\r\n250 evil' : undefined) },
      { mode: 'may' },
      'failed:E_REINJECT_PROTOCOL',
      true,
    ],
    [
      'half a line in clear behind STARTTLS',
      {
        tls: EVIL_TLS,
        act: ({ stage }) => (stage === 'starttls' ? Buffer.from('220 go\r\n250') : undefined),
      },
      { mode: 'may' },
      'failed:E_REINJECT_PROTOCOL',
      true,
    ],
    [
      'no TLS behind STARTTLS',
      { tls: EVIL_TLS, act: ({ stage }) => (stage === 'starttls' ? { do: 'end' } : undefined) },
      { mode: 'may' },
      'failed:E_REINJECT_CONNECT',
      false,
    ],
  ])('by TLS: %s', async (_, evil, tls, expected, secure) => {
    const { mta, reinjector } = await start(evil, { tls })
    expect(brief(await deliverOne(reinjector))).toEqual([expected])
    expect(mta.sessions[0]?.secure).toBe(secure)
    expect(mta.transactions).toHaveLength(expected === 'relayed' ? 1 : 0)
  })

  test('fails when the answer to STARTTLS never comes', async () => {
    const { reinjector } = await start(
      { tls: EVIL_TLS, act: ({ stage }) => (stage === 'starttls' ? { do: 'hang' } : undefined) },
      { tls: { mode: 'may' }, timeouts: { ...PATIENT, connectMs: 50 } },
    )
    expect(brief(await deliverOne(reinjector))).toEqual(['failed:E_REINJECT_TIMEOUT'])
  })
})
