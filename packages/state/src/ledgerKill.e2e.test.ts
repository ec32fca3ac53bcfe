import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { ANNA, keyOf, LedgerKit, recall } from '../test/sample.ts'

const kit = new LedgerKit()

beforeEach(async () => {
  await kit.setUp()
})

afterEach(async () => {
  await kit.tearDown()
})

/** Records without end on 20 lanes, and tells each number as soon as it is recorded. */
const CHILD = `
const [, module, directory, first] = process.argv
const { createFileLedger } = await import(module)
const { createHash } = await import('node:crypto')
const { writeSync } = await import('node:fs')
const ledger = createFileLedger({ directory, ttlMs: 172_800_000 })
await ledger.prepare()
const keyOf = (number) => createHash('sha256').update(String(number)).digest('hex').slice(0, 32)
let next = Number(first)
const lane = async () => {
  for (;;) {
    const number = next++
    const attempt = await ledger.begin(keyOf(number), ['${ANNA}'], new AbortController().signal)
    const reply = { code: 250, enhanced: '2.0.0', text: 'x'.repeat(number % 300) }
    await attempt.record(new Map([['${ANNA}', { reply, outcome: 'relayed', queuedAs: 'B' + number }]]))
    attempt.end()
    writeSync(1, number + '\\n')
  }
}
await Promise.all(Array.from({ length: 20 }, lane))
`

/** Lets a process record until it has told of `count` records, and kills it; gives all that it told of. */
async function recordAndKill(first: number, count: number): Promise<number[]> {
  const module = join(import.meta.dirname, '../dist/index.js')
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', CHILD, module, kit.directory, String(first)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = once(child, 'exit')
  const told: number[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    told.push(Number(line))
    if (told.length === count) child.kill('SIGKILL')
  }
  expect(await ended).toEqual([null, 'SIGKILL'])
  return told
}

test('remembers every record that was fulfilled before a SIGKILL, over many of them', async () => {
  const told: number[] = []
  const kills = 10
  for (let kill = 0; kill < kills; kill++) {
    const more = await recordAndKill(kill * 1_000_000, 1 + kill * kill * 20)
    expect(more.length).toBeGreaterThan(0)
    told.push(...more)
  }
  const ledger = kit.create({ now: Date.now, ttlMs: 172_800_000 })
  const { entries, damaged } = await ledger.prepare()
  expect(entries).toBeGreaterThanOrEqual(told.length)
  // A torn tail is cut by whoever comes next.
  expect(damaged).toBeLessThanOrEqual(1)
  for (const number of told) {
    const { [ANNA]: result } = await recall(ledger, keyOf(number), [ANNA])
    expect(result?.queuedAs).toBe(`B${number}`)
  }
})
