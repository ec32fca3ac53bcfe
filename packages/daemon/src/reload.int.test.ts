import { afterEach, describe, expect, test } from '@jest/globals'
import { DEFAULT_POLICY, CLEAN, FilterError, type ConfiguredScanner, type Scanner } from '@ecluse/core'
import {
  gate,
  HAM,
  onRelease,
  rulesWith,
  releaseAll,
  scannerOf,
  sendMail,
  startTestDaemon,
  until,
  type TestDaemon,
} from './daemon.testkit.ts'

afterEach(releaseAll)

const to = ['a@example.org']

/** A scanner that counts: what it was asked, and how often it was closed. */
interface Watched {
  readonly configured: ConfiguredScanner
  scans: number
  closed: number
  /** Scans after it was closed: none, ever. */
  late: number
  asked: number
}

function watched(
  common: Partial<ConfiguredScanner> = {},
  { scan = async () => CLEAN, version }: Partial<Scanner> = {},
): Watched {
  const { scanner, ...rest } = scannerOf(scan)
  const state: Watched = {
    configured: {
      ...rest,
      ...common,
      scanner: {
        async scan(request, signal) {
          state.scans += 1
          if (state.closed > 0) state.late += 1
          return await scan(request, signal)
        },
        async version(signal) {
          state.asked += 1
          return version ? await version(signal) : await scanner.version(signal)
        },
        close: async () => void (state.closed += 1),
      },
    },
    scans: 0,
    closed: 0,
    late: 0,
    asked: 0,
  }
  return state
}

/** Lets a message go on when it is told to. */
function holding(common: Partial<ConfiguredScanner>) {
  const go = gate()
  onRelease(() => go.open())
  const state = watched(common, {
    scan: async () => {
      await go.promise
      return CLEAN
    },
  })
  return { state, go }
}

const reloads = async (kit: TestDaemon): Promise<[ok: number | undefined, error: number | undefined]> => {
  const metrics = await kit.metrics()
  return [
    metrics.get('ecluse_config_reloads_total{result="ok"}'),
    metrics.get('ecluse_config_reloads_total{result="error"}'),
  ]
}

/** The labels that a metric has samples for. */
async function labelled(kit: TestDaemon, name: string): Promise<string[]> {
  const names = [...(await kit.metrics()).keys()].flatMap(
    (key) => new RegExp(`^${name}\\{.*scanner="(\\w+)"`).exec(key)?.[1] ?? [],
  )
  return [...new Set(names)]
}

describe('under load', () => {
  /** Every message is spammy: its subject gets the tag of the policy that is in force. */
  const generation = (number: number) => {
    const state = watched(
      { name: `gen${number}` },
      { scan: async () => ({ findings: [{ kind: 'score', points: 7, symbols: [] }] }) },
    )
    return {
      state,
      options: {
        scanners: [state.configured],
        rules: rulesWith({ policy: { ...DEFAULT_POLICY, subjectTag: `[gen${number}] ` } }),
      },
    }
  }

  test('each message has one set of parts from end to end; none is lost, refused or doubled', async () => {
    const first = generation(0)
    const kit = await startTestDaemon(first.options)
    const states = [first.state]
    const messages = { clients: 8, each: 40 }
    let done = 0
    const clients = Array.from({ length: messages.clients }, async (_, client) => {
      const connection = await kit.greet()
      for (let i = 0; i < messages.each; i++) {
        const content = 'Subject: hello\r\n\r\nbody\r\n'
        const { dot } = await sendMail(connection, { from: `${client}-${i}@example.com`, to, content })
        expect(dot[0]).toMatch(/^250 2\.0\.0 from MTA/)
        done += 1
      }
    })
    const total = messages.clients * messages.each
    for (let number = 1; done < total; number++) {
      const next = generation(number)
      states.push(next.state)
      expect(await kit.daemon.reload(async () => next.options)).toBe(true)
      const before = done
      await until(() => done > before || done === total)
    }
    await Promise.all(clients)

    expect(states.length).toBeGreaterThan(20)
    const scannedBy = kit.messages().map(({ mailFrom, scanners }) => ({
      mailFrom,
      by: (scanners as { name: string }[]).map(({ name }) => name).join(),
    }))
    const taggedBy = kit.mta.transactions.map(({ mail, data }) => ({
      mailFrom: /<(.*)>/.exec(mail)?.[1],
      by: /^Subject: \[(gen\d+)\] hello\r$/m.exec(data.toString('latin1'))?.[1],
    }))
    expect(taggedBy).toHaveLength(total)
    expect(new Set(taggedBy.map(({ mailFrom }) => mailFrom)).size).toBe(total)
    expect(scannedBy).toHaveLength(total)
    expect(scannedBy).toEqual(expect.arrayContaining(taggedBy))

    expect(states.reduce((sum, { scans }) => sum + scans, 0)).toBe(total)
    expect(states.map(({ late }) => late)).toEqual(states.map(() => 0))
    expect(states.map(({ closed }) => closed)).toEqual(states.map((_, i) => (i < states.length - 1 ? 1 : 0)))
    const metrics = await kit.metrics()
    expect(metrics.get('ecluse_messages_total{category="spammy",direction="internal"}')).toBe(total)
    expect(metrics.get('ecluse_in_flight_messages')).toBe(0)
    expect(await reloads(kit)).toEqual([states.length - 1, 0])
    const last = states.at(-1)?.configured.name
    expect((await labelled(kit, 'ecluse_scanner_up')).filter((name) => name !== last)).toEqual([])
    expect((await labelled(kit, 'ecluse_scans_total')).filter((name) => name !== last)).toEqual([])
    await kit.daemon.close()
    expect(states.map(({ closed }) => closed)).toEqual(states.map(() => 1))
  })
})

describe('scanners', () => {
  test('are closed when the last message that uses them is done, not before', async () => {
    const { state: old, go } = holding({ name: 'old' })
    const next = watched({ name: 'next' })
    const kit = await startTestDaemon({ scanners: [old.configured] })
    const running = [await kit.greet(), await kit.greet()].map((client) => sendMail(client, { to }))
    await until(() => old.scans === 2)
    await kit.daemon.reload(async () => ({ scanners: [next.configured], alertHeader: 'X-New' }))
    expect((await sendMail(await kit.greet(), { to })).dot[0]).toMatch(/^250 /)
    expect([old.scans, old.closed, next.scans]).toEqual([2, 0, 1])
    expect(await labelled(kit, 'ecluse_scanner_up')).toEqual(['next'])
    go.open()
    await Promise.all(running)
    expect([old.scans, old.closed, next.closed]).toEqual([2, 1, 0])
    expect(await labelled(kit, 'ecluse_scans_total')).toEqual(['next'])
    expect(await labelled(kit, 'ecluse_scan_seconds_count')).toEqual(['next'])
  })

  test('a message works with the parts of its dot, not of its DATA', async () => {
    const old = watched({ name: 'old' })
    const next = watched({ name: 'next' })
    const kit = await startTestDaemon({ scanners: [old.configured] })
    const client = await kit.greet()
    for (const line of ['MAIL FROM:<a@example.com>', `RCPT TO:<${to[0]}>`, 'DATA']) await client.ask(line)
    const rules = rulesWith({ localDomains: [], networks: [] })
    await kit.daemon.reload(async () => ({ scanners: [next.configured], rules }))
    client.send(`${HAM}.\r\n`)
    expect(await client.reply()).toMatch(/^250 /)
    expect([old.scans, next.scans, old.closed]).toEqual([0, 1, 1])
    // Without a client address it is our own; its recipient is not local any more.
    expect(kit.messages()[0]).toMatchObject({ direction: 'outbound' })
  })

  test('a message keeps the parts of its dot, also before it is scanned', async () => {
    const old = watched({ name: 'old' })
    const next = watched({ name: 'next' })
    let reloaded: Promise<boolean> | undefined
    const rules = rulesWith({})
    const kit = await startTestDaemon({
      scanners: [old.configured],
      // The end of the file is waited for: the exchange comes between dot and scan.
      memoryBytes: 0,
      rules: {
        ...rules,
        directionOf: (envelope) => {
          reloaded ??= kit.daemon.reload(async () => ({ scanners: [next.configured] }))
          return rules.directionOf(envelope)
        },
      },
    })
    expect((await sendMail(await kit.greet(), { to })).dot[0]).toMatch(/^250 /)
    expect(await reloaded).toBe(true)
    expect([old.scans, old.late, old.closed, next.scans]).toEqual([1, 0, 1, 0])
  })

  test('made of the same values stay, whatever else of them changed; others of that name go', async () => {
    const made = (name: string, address: string): Watched => watched({ name, options: { address } })
    const [kept, changed, gone] = [made('kept', 'a'), made('changed', 'a'), made('gone', 'a')]
    const kit = await startTestDaemon({ scanners: [kept, changed, gone].map((of) => of.configured) })
    expect([kept.asked, changed.asked, gone.asked]).toEqual([1, 1, 1])

    const again = made('kept', 'a')
    const other = made('changed', 'b')
    await kit.daemon.reload(async () => ({
      scanners: [{ ...again.configured, onError: 'pass', timeoutMs: 5 }, other.configured],
    }))
    await until(() => other.asked === 1)
    await sendMail(await kit.greet(), { to })
    expect([kept.scans, kept.closed, kept.asked]).toEqual([1, 0, 1])
    expect([again.scans, again.closed, again.asked]).toEqual([0, 1, 0])
    expect([other.scans, other.closed]).toEqual([1, 0])
    expect([changed.closed, gone.closed]).toEqual([1, 1])
    await kit.daemon.close()
    expect([kept.closed, other.closed, changed.closed, gone.closed, again.closed]).toEqual([1, 1, 1, 1, 1])
  })

  test('what is not closed is told of, and changes nothing else', async () => {
    const broken = watched({ name: 'broken' })
    const close = async (): Promise<void> => await Promise.reject(new Error('no'))
    const kit = await startTestDaemon({
      scanners: [{ ...broken.configured, scanner: { ...broken.configured.scanner, close } }],
    })
    expect(await kit.daemon.reload(async () => ({ scanners: [] }))).toBe(true)
    await until(() => kit.lines.some(({ msg }) => msg === 'scanner not closed'))
    await kit.daemon.close()
  })
})

describe('readiness', () => {
  const failing = async (): Promise<never> =>
    await Promise.reject(new FilterError('E_SCANNER_CONNECT', 'nobody there'))

  test('asks new scanners at once and forgets those that are gone', async () => {
    const down = watched({ name: 'down' }, { version: failing })
    const up = watched({ name: 'up' }, { version: async () => ({ engine: 'new' }) })
    const kit = await startTestDaemon({ scanners: [down.configured] })
    expect(kit.daemon.notReady()).toEqual(['scanner down: E_SCANNER_CONNECT: nobody there'])
    await kit.daemon.reload(async () => ({ scanners: [up.configured] }))
    expect(up.asked).toBe(1)
    expect(kit.daemon.notReady()).toEqual([])
    await until(() => kit.daemon.versions().size === 1)
    expect([...kit.daemon.versions()]).toEqual([['up', { engine: 'new' }]])
    expect(await labelled(kit, 'ecluse_scanner_up')).toEqual(['up'])

    await kit.daemon.reload(async () => ({
      scanners: [watched({ name: 'up' }, { version: failing }).configured],
    }))
    await until(() => kit.daemon.notReady().length === 1)
    expect([...kit.daemon.versions()]).toEqual([])
    expect((await kit.metrics()).get('ecluse_scanner_up{scanner="up"}')).toBe(0)
  })

  test.each(['an answer', 'a failure'])('does not count %s that comes after the exchange', async (kind) => {
    const go = gate()
    const slow = watched(
      { name: 'x' },
      {
        version: async () => {
          await go.promise
          return kind === 'an answer' ? { engine: 'old', signatureTimestamp: 1 } : await failing()
        },
      },
    )
    const kit = await startTestDaemon({ scanners: [] })
    await kit.daemon.reload(async () => ({ scanners: [slow.configured] }))
    await kit.daemon.reload(async () => ({ scanners: [watched({ name: 'x' }).configured] }))
    await until(() => kit.daemon.versions().size === 1)
    go.open()
    await sendMail(await kit.greet(), { to })
    expect(kit.daemon.notReady()).toEqual([])
    expect([...kit.daemon.versions()]).toEqual([['x', { engine: 'a function' }]])
    expect(await labelled(kit, 'ecluse_scanner_signature_timestamp_seconds')).toEqual([])
  })
})

test('what cannot be read changes nothing, and counts', async () => {
  const old = watched({ name: 'old' })
  const kit = await startTestDaemon({ scanners: [old.configured] })
  const success = 'ecluse_config_last_reload_success_timestamp_seconds'
  const before = (await kit.metrics()).get(success)
  expect(before).toBeGreaterThan(0)
  const reading = kit.daemon.reload(() => Promise.reject(new FilterError('E_CONFIG', 'wrong')))
  await expect(reading).rejects.toMatchObject({ code: 'E_CONFIG' })
  await sendMail(await kit.greet(), { to })
  expect([old.scans, old.closed]).toEqual([1, 0])
  expect(await reloads(kit)).toEqual([0, 1])
  expect((await kit.metrics()).get(success)).toBe(before)
  expect(await labelled(kit, 'ecluse_scanner_up')).toEqual(['old'])
  // And the next one is not held up.
  expect(await kit.daemon.reload(async () => ({}))).toBe(true)
  expect(await reloads(kit)).toEqual([1, 1])
  expect((await kit.metrics()).get(success)).toBeGreaterThanOrEqual(before ?? 0)
})

test('reloads run one after the other, in their order; the last one stays', async () => {
  const kit = await startTestDaemon()
  const go = gate()
  const order: string[] = []
  const first = kit.daemon.reload(async () => {
    order.push('first begins')
    await go.promise
    order.push('first ends')
    return { alertHeader: 'X-First', drainMs: 1 }
  })
  const second = kit.daemon.reload(async ({ alertHeader, drainMs }) => {
    order.push(`second begins after ${alertHeader} ${drainMs}`)
    return { alertHeader: 'X-Second' }
  })
  const third = kit.daemon.reload(async ({ alertHeader, drainMs }) => {
    order.push(`third begins after ${alertHeader} ${drainMs}`)
    return {}
  })
  await sendMail(await kit.greet(), { to })
  expect(order).toEqual(['first begins'])
  go.open()
  expect(await Promise.all([first, second, third])).toEqual([true, true, true])
  expect(order).toEqual([
    'first begins',
    'first ends',
    'second begins after X-First 1',
    'third begins after X-Second 1',
  ])
})

describe('while the daemon closes', () => {
  test('nothing is read, and nothing that was being read is put in force', async () => {
    const { state: old, go } = holding({ name: 'old' })
    const late = watched({ name: 'late' })
    const kit = await startTestDaemon({ scanners: [old.configured] })
    const result = sendMail(await kit.greet(), { to })
    await until(() => old.scans === 1)
    const reading = gate()
    const inTheMiddle = kit.daemon.reload(async () => {
      await reading.promise
      return { scanners: [late.configured] }
    })
    const behind = kit.daemon.reload(() => {
      throw new TypeError('must not be read')
    })
    // The first one must have begun.
    await Promise.resolve()
    const closing = kit.daemon.close()
    reading.open()
    expect(await Promise.all([inTheMiddle, behind])).toEqual([false, false])
    expect(await kit.daemon.reload(async () => ({ scanners: [] }))).toBe(false)
    expect([old.closed, late.closed]).toEqual([0, 1])
    go.open()
    expect((await result).dot[0]).toMatch(/^250 /)
    await closing
    expect([old.closed, late.closed, late.asked]).toEqual([1, 1, 0])
  })
})

test('limits are those of the newest parts; a deadline that runs stays', async () => {
  const { state, go } = holding({ name: 'slow' })
  const kit = await startTestDaemon({
    scanners: [state.configured],
    limits: { concurrency: 2, deadlineMs: 60_000 },
  })
  const [first, second] = [await kit.greet(), await kit.greet()]
  const running = sendMail(first, { to })
  await until(() => state.scans === 1)
  await kit.daemon.reload(async () => ({ limits: { concurrency: 1, deadlineMs: 1 } }))
  expect(await second.ask('MAIL FROM:<b@example.com>')).toBe(
    '451 4.3.2 Too many messages at once, try again later',
  )
  go.open()
  expect((await running).dot[0]).toMatch(/^250 /)

  const { state: stuck } = holding({ name: 'stuck' })
  await kit.daemon.reload(async () => ({ scanners: [stuck.configured] }))
  expect((await sendMail(first, { to })).dot[0]).toMatch(/^451 4\.7\.1 /)
})
