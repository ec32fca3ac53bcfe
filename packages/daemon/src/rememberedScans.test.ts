import { describe, expect, test } from '@jest/globals'
import { CLEAN, FilterError, type Verdict } from '@ecluse/core'
import { until } from './daemon.testkit.ts'
import { engine, INFECTED, instance, mail, said, scanned, sharedLevel } from './remembering.testkit.ts'

describe('a copy of a message', () => {
  test('is not shown to the engine', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    expect(await scanned(filter, clamav, CLEAN)).toEqual(['clean'])
    expect(said(await filter.scan(mail('m')))).toEqual(['clean again'])
    expect(await scanned(filter, clamav, INFECTED, mail('n'))).toEqual(['virus'])
    expect(said(await filter.scan(mail('n')))).toEqual(['virus again'])
    expect(clamav.scans).toHaveLength(2)
    expect(filter.counts).toEqual(['clamav miss', 'clamav hit', 'clamav miss', 'clamav hit'])
  })

  test('is, where its kind declares nothing, and is not counted', async () => {
    const { memory: _, ...configured } = engine().configured
    const plain = engine()
    const filter = await instance([
      { ...plain, configured: { ...configured, scanner: plain.configured.scanner } },
    ])
    await scanned(filter, plain, CLEAN)
    expect(await scanned(filter, plain, CLEAN)).toEqual(['clean'])
    expect(filter.counts).toEqual([])
  })

  test('is, where it is too large to be shown', async () => {
    const clamav = engine({ maxSizeBytes: 1 })
    const filter = await instance([clamav])
    expect(said(await filter.scan(mail('mm')))).toEqual(['skipped'])
    expect(filter.counts).toEqual([])
  })

  test.each<[string, Verdict | Error]>([
    ['failed', new FilterError('E_SCANNER_TIMEOUT', 'late')],
    ['could not look into it', { findings: [{ kind: 'unchecked', reason: 'encrypted' }] }],
    [
      'answered in part',
      { findings: [...INFECTED.findings, { kind: 'unchecked', reason: 'limits exceeded' }] },
    ],
  ])('is, when the engine %s', async (_, end) => {
    const clamav = engine()
    const filter = await instance([clamav])
    await scanned(filter, clamav, end)
    expect(await scanned(filter, clamav, CLEAN)).toEqual(['clean'])
    expect(filter.counts).toEqual(['clamav miss', 'clamav miss'])
  })

  test('is shown to the one that has not seen it, and not to the other', async () => {
    const [clamav, other] = [engine(), engine({ name: 'other' })]
    const filter = await instance([clamav, other])
    const failing = filter.scan(mail('m'))
    await until(() => other.scans.length > 0)
    clamav.scans[0]?.end(CLEAN)
    other.scans[0]?.end(new FilterError('E_SCANNER_PROTOCOL', 'garbage'))
    expect(said(await failing)).toEqual(['clean', 'E_SCANNER_PROTOCOL'])
    const again = filter.scan(mail('m'))
    await until(() => other.scans.length > 1)
    other.scans[1]?.end(INFECTED)
    expect(said(await again)).toEqual(['clean again', 'virus'])
  })

  test('needs no backup when it is remembered, and no engine that is down is a clean one', async () => {
    const clamav = engine()
    const backup = engine({ name: 'backup', backupFor: ['clamav'] })
    const filter = await instance([clamav, backup])
    const failing = filter.scan(mail('m'))
    await until(() => clamav.scans.length > 0)
    clamav.scans[0]?.end(new FilterError('E_SCANNER_PROTOCOL', 'garbage'))
    await until(() => backup.scans.length > 0)
    backup.scans[0]?.end(CLEAN)
    expect(said(await failing)).toEqual(['E_SCANNER_PROTOCOL', 'clean'])
    // The verdict is that of the backup, and of nobody else.
    expect(await scanned(filter, clamav, INFECTED)).toEqual(['virus'])
    expect(said(await filter.scan(mail('m')))).toEqual(['virus again'])
  })
})

describe('signatures that change', () => {
  test('between a scan and the next copy: it is scanned', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    await scanned(filter, clamav, CLEAN)
    clamav.state.loaded = 'two'
    expect(await scanned(filter, clamav, INFECTED)).toEqual(['virus'])
    expect(said(await filter.scan(mail('m')))).toEqual(['virus again'])
  })

  test('during a scan: it is not remembered', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const scan = filter.scan(mail('m'))
    await until(() => clamav.scans.length > 0)
    clamav.state.loaded = 'two'
    clamav.scans[0]?.end(CLEAN)
    expect(said(await scan)).toEqual(['clean'])
    expect(await scanned(filter, clamav, INFECTED)).toEqual(['virus'])
  })

  test('during a scan that another copy waits for: that copy is scanned', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const first = filter.scan(mail('m'))
    await until(() => clamav.scans.length > 0)
    clamav.state.loaded = 'two'
    const second = filter.scan(mail('m'))
    clamav.scans[0]?.end(CLEAN)
    expect(said(await first)).toEqual(['clean'])
    await until(() => clamav.scans.length > 1)
    clamav.scans[1]?.end(INFECTED)
    expect(said(await second)).toEqual(['virus'])
  })

  test('are there but not loaded for certain: a find is remembered, clean is not', async () => {
    const clamav = engine()
    clamav.state.isCertain = false
    const filter = await instance([clamav])
    await scanned(filter, clamav, CLEAN)
    expect(await scanned(filter, clamav, INFECTED)).toEqual(['virus'])
    expect(said(await filter.scan(mail('m')))).toEqual(['virus again'])
  })

  test('are there but not loaded for certain: nobody gets the clean of another copy', async () => {
    const clamav = engine()
    clamav.state.isCertain = false
    const filter = await instance([clamav])
    const all = [1, 2, 3].map(() => filter.scan(mail('m')))
    await until(() => clamav.scans.length > 0)
    clamav.scans[0]?.end(CLEAN)
    await until(() => clamav.scans.length === 3)
    for (const scan of clamav.scans) scan.end(INFECTED)
    expect((await Promise.all(all)).map(said)).toEqual([['clean'], ['virus'], ['virus']])
  })

  test('nothing is looked for while nobody knows them', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    await scanned(filter, clamav, CLEAN)
    clamav.state.loaded = undefined
    expect(await scanned(filter, clamav, CLEAN)).toEqual(['clean'])
    clamav.state.loaded = 'one'
    expect(await scanned(filter, clamav, CLEAN)).toEqual(['clean'])
    await filter.memory.versions.answered(clamav.configured, { engine: 'fake' })
    expect(said(await filter.scan(mail('m')))).toEqual(['clean again'])
    await filter.memory.versions.answered(clamav.configured, undefined)
    expect(await scanned(filter, clamav, CLEAN)).toEqual(['clean'])
  })
})

test('an engine that does not say what it has loaded is asked so once, and has time left for the message', async () => {
  const clamav = engine()
  const filter = await instance([clamav])
  await scanned(filter, clamav, CLEAN)
  Object.assign(clamav.configured, { timeoutMs: 100 })
  let release: () => void = () => undefined
  clamav.state.hold = new Promise((resolve) => {
    release = resolve
  })
  const asked = clamav.state.questions
  const second = filter.scan(mail('m'))
  await until(() => clamav.scans.length > 1)
  clamav.scans[1]?.end(new FilterError('E_SCANNER_PROTOCOL', 'garbage'))
  await second
  // Whoever asks while an answer is waited for has a question of his own behind it.
  release()
  await new Promise((resolve) => setImmediate(resolve))
  expect(clamav.state.questions - asked).toBe(1)
})

describe('copies that come together', () => {
  test('are one scan', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const all = Array.from({ length: 1000 }, () => filter.scan(mail('m')))
    await until(() => clamav.scans.length > 0)
    clamav.scans[0]?.end(CLEAN)
    const results = (await Promise.all(all)).map((result) => said(result)[0])
    expect([results[0], new Set(results.slice(1))]).toEqual(['clean', new Set(['clean again'])])
    expect(clamav.scans).toHaveLength(1)
    expect(filter.counts.filter((of) => of === 'clamav joined')).toHaveLength(999)
  })

  test('each asks for itself when the scan of the first fails', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const all = [1, 2, 3].map(() => filter.scan(mail('m')))
    await until(() => clamav.scans.length > 0)
    clamav.scans[0]?.end(new FilterError('E_SCANNER_PROTOCOL', 'garbage'))
    await until(() => clamav.scans.length === 3)
    for (const scan of clamav.scans) scan.end(CLEAN)
    const results = await Promise.all(all)
    expect(results.map(said)).toEqual([['E_SCANNER_PROTOCOL'], ['clean'], ['clean']])
    expect(results.flat().every(({ contentDigest }) => contentDigest !== undefined)).toBe(true)
    // It is told that these two have waited for nothing.
    expect(results.flat().map(({ waitedMs }) => waitedMs !== undefined)).toEqual([false, true, true])
  })

  test('go on when the first is given up, as one scan', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const controller = new AbortController()
    const first = filter.scan(mail('m'), controller.signal)
    await until(() => clamav.scans.length > 0)
    const others = [1, 2, 3].map(() => filter.scan(mail('m')))
    controller.abort()
    expect(said(await first)).toEqual(['E_ABORTED'])
    await until(() => clamav.scans.length === 2)
    expect(clamav.scans[1]?.signal.aborted).toBe(false)
    clamav.scans[1]?.end(CLEAN)
    expect((await Promise.all(others)).flatMap(said).toSorted()).toEqual([
      'clean',
      'clean again',
      'clean again',
    ])
    expect(clamav.scans).toHaveLength(2)
  })

  test('one that is given up while it waits leaves the others alone', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const first = filter.scan(mail('m'))
    await until(() => clamav.scans.length > 0)
    const controller = new AbortController()
    const waiting = filter.scan(mail('m'), controller.signal)
    controller.abort()
    expect(said(await waiting)).toEqual(['E_ABORTED'])
    clamav.scans[0]?.end(CLEAN)
    expect(said(await first)).toEqual(['clean'])
  })

  test('do not wait longer than a scan of their own takes, and 50 ms', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    filter.memory.pace.note(clamav.configured, { sizeBytes: 1, ms: 2 })
    const hanging = filter.scan(mail('m'))
    await until(() => clamav.scans.length > 0)
    const second = filter.scan(mail('m'))
    // The first one never ends: the second would not, if it waited for it.
    await until(() => clamav.scans.length > 1)
    clamav.scans[1]?.end(CLEAN)
    expect(said(await second)).toEqual(['clean'])
    clamav.scans[0]?.end(CLEAN)
    expect(said(await hanging)).toEqual(['clean'])
  })

  test('a virus is not theirs where they came by another way', async () => {
    const clamav = engine()
    const filter = await instance([clamav])
    const first = filter.scan(mail('m', ['Received: ours', 'Received: EICAR']))
    await until(() => clamav.scans.length > 0)
    const second = filter.scan(mail('m', ['Received: ours']))
    clamav.scans[0]?.end(INFECTED)
    expect(said(await first)).toEqual(['virus'])
    await until(() => clamav.scans.length > 1)
    clamav.scans[1]?.end(CLEAN)
    expect(said(await second)).toEqual(['clean'])
  })
})

describe('two instances', () => {
  const pair = async () => {
    const { cache, level } = sharedLevel()
    const [one, other] = [engine(), engine()]
    return { one, other, level, first: await instance([one], cache), second: await instance([other], cache) }
  }

  test('the second one does not scan what the first one has', async () => {
    const { one, other, first, second, level } = await pair()
    await scanned(first, one, INFECTED)
    await until(() => level.claims.size === 0)
    expect(said(await second.scan(mail('m')))).toEqual(['virus again'])
    expect(said(await second.scan(mail('m')))).toEqual(['virus again'])
    expect(other.scans).toHaveLength(0)
    // Once for the first, once for the second, and never for what is in memory.
    expect(level.reads).toBe(2)
    expect(second.counts).toEqual(['clamav hit', 'clamav hit'])
  })

  test('copies that come to both together are one scan', async () => {
    const { one, other, first, second, level } = await pair()
    const leading = first.scan(mail('m'))
    await until(() => one.scans.length > 0)
    const waiting = [second.scan(mail('m')), second.scan(mail('m'))]
    await until(() => level.reads > 3)
    one.scans[0]?.end(CLEAN)
    expect(said(await leading)).toEqual(['clean'])
    expect((await Promise.all(waiting)).map(said)).toEqual([['clean again'], ['clean again']])
    expect(other.scans).toHaveLength(0)
    expect(second.counts).toContain('clamav joined')
    expect(level.claims.size).toBe(0)
  })

  test('the second one scans when the first one has ended without a word', async () => {
    const { one, other, first, second } = await pair()
    second.memory.pace.note(other.configured, { sizeBytes: 1, ms: 1 })
    const dead = first.scan(mail('m'))
    await until(() => one.scans.length > 0)
    expect(await scanned(second, other, CLEAN)).toEqual(['clean'])
    one.scans[0]?.end(CLEAN)
    await dead
  })

  test('nobody waits for one whose right to scan could not be asked for', async () => {
    const { cache } = sharedLevel()
    const clamav = engine({ timeoutMs: 3_600_000 })
    const broken = async (): Promise<never> => await Promise.reject(new TypeError('broken'))
    const filter = await instance([clamav], { ...cache, claim: broken })
    filter.memory.pace.note(clamav.configured, { sizeBytes: 1, ms: 1_000_000 })
    await expect(filter.scan(mail('m'))).rejects.toThrow('broken')
    await expect(filter.scan(mail('m'))).rejects.toThrow('broken')
  })

  test('with other signatures they have nothing in common', async () => {
    const { one, other, first, second } = await pair()
    await scanned(first, one, CLEAN)
    other.state.loaded = 'two'
    await second.memory.versions.answered(other.configured, { engine: 'fake' })
    expect(await scanned(second, other, INFECTED)).toEqual(['virus'])
  })

  test('what is no verdict of ours is scanned, counted as an error, and written over', async () => {
    const { one, first, second, other, level } = await pair()
    await scanned(first, one, CLEAN)
    await until(() => level.claims.size === 0)
    const [key = ''] = level.values.keys()
    level.values.set(key, Buffer.from('{"v":1,"f":"clean"}'))
    expect(await scanned(second, other, INFECTED)).toEqual(['virus'])
    expect(second.counts).toEqual(['clamav error'])
    await until(() => level.claims.size === 0)
    expect(level.values.get(key)?.toString()).toContain('"v","X"')
  })
})
