/*
 * One throw at each place where one part calls another, while twenty messages are on their way. Every part is the real
 * one, behind a proxy that throws once.
 */
import { readdirSync, readlinkSync } from 'node:fs'
import { get } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { CLEAN, type Address } from '@ecluse/core'
import { connectLmtp, EICAR, startEvilMta, type EvilMta, type LmtpClient } from '@ecluse/fixtures'
import { createReceiver, createReinjector, createSpool } from '@ecluse/mail'
import { scanningWith } from '@ecluse/scanners'
import { createFileStore } from '@ecluse/quarantine'
import { createFileLedger } from '@ecluse/state'
import { tellOf } from './connectionEvents.ts'
import {
  HAM,
  onRelease,
  PATIENT,
  releaseAll,
  rulesWith,
  scannerOf,
  scannerOfKind,
  sendMail,
  tempFolder,
  until,
} from './daemon.testkit.ts'
import { listenHttp } from './http.ts'
import { createIntake } from './intake.ts'
import { createLog } from './logOutput.ts'
import { Metrics } from './metrics.ts'
import { PartsInUse } from './parts.ts'
import { openScanGuards } from './scanGuards.ts'

/** What is called, and on whom: `writer.finish`. */
interface Point {
  readonly at: string
  /** A promise that rejects, instead of a throw. */
  readonly rejects?: boolean
}

let armed: Point | undefined
let thrown = 0

function strike(): never {
  thrown++
  throw new TypeError('a bug of ours')
}

/**
 * The same object, but the armed point throws, once. What it gives is proxied too, where it is named.
 *
 * @param inner what the results of methods, or the values of fields, are called
 */
function trapped<T extends object>(name: string, target: T, inner: Readonly<Record<string, string>> = {}): T {
  const wrap = (key: string, value: unknown): unknown => {
    const called = inner[key]
    return called !== undefined && typeof value === 'object' && value !== null
      ? trapped(called, value, INNER)
      : value
  }
  return new Proxy(target, {
    get(of, key) {
      const value: unknown = Reflect.get(of, key, of)
      if (typeof key === 'symbol') return value
      const isPoint = (): boolean => armed?.at === `${name}.${key}` && thrown === 0
      if (typeof value !== 'function') {
        if (isPoint()) strike()
        return wrap(key, value)
      }
      return (...args: unknown[]): unknown => {
        if (isPoint()) {
          if (armed?.rejects !== true) strike()
          return (async () => strike())()
        }
        const result: unknown = (value as (...args: unknown[]) => unknown).apply(of, args)
        if (!(result instanceof Promise)) return wrap(key, result)
        return (async () => wrap(key, await result))()
      }
    },
  })
}

/** What comes out of what. */
const INNER: Readonly<Record<string, string>> = {
  create: 'writer',
  finish: 'message',
  mailInSteps: 'steps',
  next: 'step',
  value: 'mailRules',
  policyFor: 'policy',
  standingFor: 'standing',
}

interface Kit {
  readonly connect: () => Promise<LmtpClient>
  readonly mta: EvilMta
  readonly lines: Record<string, unknown>[]
  readonly metrics: Metrics
  readonly inFlight: () => number
  readonly spoolBytes: () => number
  readonly folders: readonly string[]
}

let kit: Kit

async function start(): Promise<Kit> {
  const mta = await startEvilMta()
  const [spoolFolder, quarantineFolder, ledgerFolder] = await Promise.all([
    tempFolder(),
    tempFolder(),
    tempFolder(),
  ])
  onRelease(() => mta.close())
  const hostname = 'filter.example.org'
  const lines: Record<string, unknown>[] = []
  const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>)
  const log = trapped('log', createLog('debug', 'json', { write }))
  const metrics: Metrics = new Metrics({
    inFlight: () => intake.inFlight,
    spoolBytes: () => intake.spoolBytes,
    quarantineBytes: async () => 0,
    ledgerEntries: () => 0,
    cacheEntries: () => 0,
    circuits: () => new Map(),
  })
  const spool = createSpool({ directory: spoolFolder, memoryBytes: 2000 })
  const quarantine = createFileStore(quarantineFolder)
  const ledger = createFileLedger({ directory: ledgerFolder, ttlMs: 3_600_000 })
  await Promise.all([quarantine.prepare(), ledger.prepare()])
  onRelease(() => ledger.close())
  const reinjector = createReinjector({
    protocol: 'smtp',
    address: mta.address,
    connections: 20,
    hostname,
    timeouts: PATIENT,
  })
  onRelease(() => reinjector.close())
  const function_ = scannerOf(async () => CLEAN)
  const rules = trapped('rules', rulesWith({}), INNER)
  const parts = new PartsInUse(
    {
      pipeline: trapped('pipeline', {
        hostname,
        alertHeader: 'X-Ecluse-Alert',
        scanners: [
          scannerOfKind('test'),
          trapped('configured', { ...function_, scanner: trapped('scanner', function_.scanner) }),
        ],
        rules,
        quarantine: trapped('quarantine', quarantine),
        reinjector: trapped('reinjector', reinjector),
        ledger: trapped('ledger', ledger, { begin: 'attempt' }),
        scanAll: scanningWith(openScanGuards(log, 1).scanWith(5)),
      }),
      directionOf: (envelope) => rules.directionOf(envelope),
      concurrency: 50,
      deadlineMs: 60_000,
    },
    () => undefined,
  )
  const trappedParts = trapped('parts', parts, { borrow: 'borrowed', newest: 'newest' })
  const trappedMetrics = trapped('metrics', metrics)
  const intake = createIntake({
    spool: trapped('spool', spool, INNER),
    memoryBytes: 2000,
    parts: trappedParts,
    log,
    metrics: trappedMetrics,
  })
  const receiver = await createReceiver(
    {
      protocol: 'lmtp',
      address: { host: '127.0.0.1', port: 0 },
      hostname,
      trust: ['127.0.0.0/8'],
      messageSizeBytes: 1_000_000,
      recipients: 100,
      connections: 100,
      idleMs: 60_000,
    },
    trapped('intake', intake, { begin: 'sink' }),
    (event) => tellOf(event, { log, metrics }),
  )
  onRelease(() => receiver.close(AbortSignal.abort()))
  return {
    connect: async () => await greeted(receiver.address),
    mta,
    lines,
    metrics,
    inFlight: () => intake.inFlight,
    spoolBytes: () => intake.spoolBytes,
    folders: [spoolFolder, `${quarantineFolder}/tmp`],
  }
}

async function greeted(address: Address): Promise<LmtpClient> {
  const client = await connectLmtp(address)
  onRelease(() => client.destroy())
  await client.reply()
  await client.ask('LHLO postfix.example.org')
  return client
}

beforeEach(async () => {
  armed = undefined
  thrown = 0
  kit = await start()
})
afterEach(releaseAll)

const LARGE = `${HAM}${`${'x'.repeat(70)}\r\n`.repeat(100)}`
const VIRUS = `From: a@example.com\r\nSubject: v\r\n\r\n${EICAR}\r\n`

/** The replies to twenty messages at once: their codes. */
async function sendTwenty(content: string): Promise<string[]> {
  const clients = await Promise.all(Array.from({ length: 20 }, async () => await kit.connect()))
  const replies = await Promise.all(
    clients.map(
      async (client, index) =>
        await sendMail(client, { to: ['r@example.org'], content, xforward: `IDENT=4QX${index}` }),
    ),
  )
  return replies.map(({ mail, data, dot }) => {
    const codes = dot.map((reply) => reply.slice(0, 3))
    return codes.length > 0 ? codes.join() : data.startsWith('503') ? mail.slice(0, 3) : data.slice(0, 3)
  })
}

async function internalErrors(): Promise<number> {
  const [value] = (await kit.metrics.internalErrors.get()).values
  return value?.value ?? 0
}

/** Files of that folder that this process has open, those without a name included. */
function openIn(folder: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${folder}/`)
    } catch {
      // Closed in the meantime, as that of the list itself.
      return false
    }
  }).length
}

/** @param told lines of level error */
async function expectContained(told: number): Promise<void> {
  expect(thrown).toBe(1)
  expect(await internalErrors()).toBe(1)
  const errors = kit.lines.filter(({ level }) => level === 'error')
  expect(errors).toHaveLength(told)
  expect(errors.every((line) => JSON.stringify(line).includes('a bug of ours'))).toBe(true)
  await until(() => kit.inFlight() === 0)
  expect(kit.spoolBytes()).toBe(0)
  await until(() => openIn(kit.folders[0] ?? '') === 0)
  expect(kit.folders.flatMap((folder) => readdirSync(folder))).toEqual([])
  armed = undefined
  expect((await sendMail(await kit.connect(), { to: ['next@example.org'] })).dot[0]).toMatch(/^250 /)
}

/** The message of the throw is deferred. */
const DEFERS: readonly Point[] = [
  ...['intake.admit', 'intake.begin', 'sink.write'].map((at) => ({ at })),
  ...['parts.newest', 'newest.concurrency', 'parts.borrow', 'borrowed.parts'].map((at) => ({ at })),
  ...['spool.create', 'writer.id', 'writer.write', 'writer.finish'].map((at) => ({ at })),
  ...['sink.write', 'writer.write', 'writer.finish'].map((at) => ({ at, rejects: true })),
  ...['message.sizeBytes', 'message.digest', 'message.header', 'message.id'].map((at) => ({ at })),
  ...['rules.directionOf', 'rules.wantsAuthors', 'rules.mailInSteps', 'steps.next', 'rules.isLocal'].map(
    (at) => ({ at }),
  ),
  ...['rules.softBounce', 'rules.recipientDelimiter'].map((at) => ({ at })),
  ...['mailRules.policyFor', 'mailRules.standingFor', 'standing.points'].map((at) => ({
    at,
  })),
  ...['policy.scanners', 'policy.bypass', 'policy.killLevel'].map((at) => ({ at })),
  ...['policy.virusNames', 'policy.tag2Level', 'policy.messageSize'].map((at) => ({
    at,
  })),
  ...['pipeline.hostname', 'pipeline.alertHeader', 'pipeline.scanners', 'pipeline.rules'].map((at) => ({
    at,
  })),
  ...['pipeline.reinjector', 'reinjector.deliver', 'pipeline.scanAll'].map((at) => ({ at })),
  ...['pipeline.ledger', 'ledger.begin', 'attempt.done'].map((at) => ({ at })),
  { at: 'ledger.begin', rejects: true },
  { at: 'reinjector.deliver', rejects: true },
  ...['configured.name', 'configured.concerns', 'configured.timeoutMs', 'configured.scanner'].map((at) => ({
    at,
  })),
  ...['configured.maxSizeBytes', 'configured.onError', 'configured.breaker', 'scanner.scan'].map((at) => ({
    at,
  })),
  { at: 'scanner.scan', rejects: true },
]

test.each(DEFERS)('%j: one 4xx, one line, one count; nineteen others pass', async (point) => {
  armed = point
  const codes = await sendTwenty(HAM)
  expect(codes.toSorted()).toEqual([...Array.from({ length: 19 }, () => '250'), '451'])
  await expectContained(1)
  expect(kit.mta.transactions.filter(({ complete }) => complete)).toHaveLength(20)
})

describe('a message in a file', () => {
  test.each<Point>([
    { at: 'message.open' },
    { at: 'writer.write' },
    { at: 'writer.write', rejects: true },
    { at: 'writer.finish', rejects: true },
  ])('$at', async (point) => {
    armed = point
    const codes = await sendTwenty(LARGE)
    expect(codes.toSorted()).toEqual([...Array.from({ length: 19 }, () => '250'), '451'])
    await expectContained(1)
  })
})

describe('a virus', () => {
  test.each<Point>([
    { at: 'pipeline.quarantine' },
    { at: 'quarantine.put' },
    { at: 'quarantine.put', rejects: true },
    { at: 'attempt.reservedId' },
    { at: 'attempt.reserve' },
    { at: 'attempt.reserve', rejects: true },
    { at: 'message.bytes' },
    { at: 'policy.destiny' },
    { at: 'policy.quarantine' },
  ])('$at', async (point) => {
    armed = point
    const codes = await sendTwenty(VIRUS)
    expect(codes.toSorted()).toEqual([...Array.from({ length: 19 }, () => '250'), '451'])
    await expectContained(1)
  })
})

describe('behind the delivery', () => {
  test.each<[Point, number]>([
    [{ at: 'message.discard' }, 1],
    [{ at: 'message.discard', rejects: true }, 1],
    [{ at: 'borrowed.release' }, 1],
    [{ at: 'attempt.record' }, 1],
    [{ at: 'attempt.record', rejects: true }, 1],
    [{ at: 'attempt.end' }, 1],
    [{ at: 'metrics.record' }, 0],
    [{ at: 'log.message' }, 0],
  ])('%j does not send the message again', async (point, told) => {
    armed = point
    expect(await sendTwenty(HAM)).toEqual(Array.from({ length: 20 }, () => '250'))
    await expectContained(told)
  })
})

describe('/metrics and /readyz', () => {
  test.each(['/metrics', '/readyz'])('%s breaks alone', async (path) => {
    const bugs: unknown[] = []
    const http = await listenHttp(
      { host: '127.0.0.1', port: 0 },
      {
        notReady: () => (armed ? strike() : []),
        metrics: trapped('metrics', kit.metrics, { registry: 'registry' }),
        onBug: (cause) => bugs.push(cause),
      },
    )
    onRelease(() => http.close())
    const { address } = http
    if ('path' in address) throw new TypeError('expected TCP')
    const ask = async (): Promise<number> =>
      await new Promise((resolve, reject) => {
        get({ ...address, path, agent: false }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        }).on('error', reject)
      })
    armed = { at: 'registry.metrics', rejects: true }
    await expect(ask()).resolves.toBe(500)
    expect(bugs).toHaveLength(1)
    armed = undefined
    await expect(ask()).resolves.toBe(200)
  })
})
