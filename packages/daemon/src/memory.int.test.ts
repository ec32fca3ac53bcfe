import { afterEach, expect, test } from '@jest/globals'
import { CLEAN, type ConfiguredScanner } from '@ecluse/core'
import { HAM, releaseAll, scannerOf, sendMail, startTestDaemon, type TestDaemon } from './daemon.testkit.ts'

afterEach(releaseAll)

const CACHE = {
  maxEntries: 100,
  maxBytes: 1_000_000,
  cleanTtlMs: 60_000,
  infectedTtlMs: 60_000,
  spamTtlMs: 60_000,
}

/** Counts what it is shown. */
function counting(name: string) {
  let scans = 0
  const configured: ConfiguredScanner = {
    ...scannerOf(
      async () => {
        scans++
        return CLEAN
      },
      { name, concerns: ['virus'] },
    ),
    memory: { inputs: ['content'], settings: '{}' },
  }
  return { configured, scans: () => scans }
}

const lookups = async ({ metrics }: TestDaemon, result: string): Promise<number> =>
  (await metrics()).get(`ecluse_cache_lookups_total{scanner="a",result="${result}"}`) ?? 0

test('log and metrics tell what was remembered, and no scan is counted twice', async () => {
  const scanner = counting('a')
  const kit = await startTestDaemon({ scanners: [scanner.configured], cache: CACHE })
  const client = await kit.greet()
  for (const id of [1, 2, 3]) {
    const content = `Received: from x by y id ${id}; today\r\n${HAM}`
    const { dot } = await sendMail(client, { to: ['r@example.org'], content })
    expect(dot[0]).toMatch(/^250 /)
  }
  expect(scanner.scans()).toBe(1)
  expect(kit.messages().map(({ scanners }) => scanners)).toEqual(
    [false, true, true].map((cached) => [{ name: 'a', verdict: 'clean', ms: expect.any(Number), cached }]),
  )
  expect([await lookups(kit, 'miss'), await lookups(kit, 'hit')]).toEqual([1, 2])
  const metrics = await kit.metrics()
  expect(metrics.get('ecluse_scans_total{scanner="a",verdict="clean"}')).toBe(1)
  expect(metrics.get('ecluse_scan_seconds_count{scanner="a"}')).toBe(1)
  expect(metrics.get('ecluse_cache_entries')).toBe(1)
})

test('a message in a file is the same as its copies', async () => {
  const scanner = counting('a')
  const kit = await startTestDaemon({ scanners: [scanner.configured], cache: CACHE, memoryBytes: 1024 })
  const client = await kit.greet()
  for (const id of [1, 2]) {
    const content = `Received: from x by y id ${id}; today\r\n${HAM}${'More.\r\n'.repeat(1000)}`
    await sendMail(client, { to: ['r@example.org'], content })
  }
  expect(scanner.scans()).toBe(1)
})

test('a reload switches it off, and on again', async () => {
  const scanner = counting('a')
  const kit = await startTestDaemon({ scanners: [scanner.configured], cache: CACHE })
  const client = await kit.greet()
  const send = async (): Promise<number> => {
    await sendMail(client, { to: ['r@example.org'] })
    return scanner.scans()
  }
  expect([await send(), await send()]).toEqual([1, 1])
  await kit.daemon.reload(async () => ({ cache: { ...CACHE, maxEntries: 0 } }))
  expect([await send(), await send()]).toEqual([2, 3])
  await kit.daemon.reload(async () => ({ cache: CACHE }))
  expect([await send(), await send()]).toEqual([4, 4])
})

test('without the section nothing is remembered', async () => {
  const scanner = counting('a')
  const kit = await startTestDaemon({ scanners: [scanner.configured] })
  const client = await kit.greet()
  for (let i = 0; i < 2; i++) await sendMail(client, { to: ['r@example.org'] })
  expect(scanner.scans()).toBe(2)
})
