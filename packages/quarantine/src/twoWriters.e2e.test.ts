import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { createFileStore } from './fileStore.ts'

const MESSAGES = 150
/** Of a message, in turn: in memory, and more than one write. */
const SIZES = [100, 5000, 300_000]

/**
 * Keeps messages, eight at a time, looks at the list meanwhile, says `done`, and lists when it is told to. Its arguments:
 * the folder, and the first character of its ids.
 */
const WRITER = `
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { once } from 'node:events'
import { DEFAULT_POLICY, decide } from '@ecluse/core'
import { createFileStore, quarantineRecord } from '@ecluse/quarantine'
const [directory, first] = process.argv.slice(1)
const store = createFileStore(directory)
await store.prepare()
const assessment = { viruses: ['X'], unchecked: [], scores: [], virusPoints: 0, symbols: [], mustDefer: false }
async function keep(number) {
  // Both write into the same shards.
  const id = 'ABCD'[number % 4] + first + String(number).padStart(10, '0')
  const bytes = Buffer.alloc(${JSON.stringify(SIZES)}[number % 3], first + number + '\\r\\n')
  const recipients = [{ address: 'r' + number + '@example.org' }]
  const client = { queueId: 'Q' }
  const envelope = { protocol: 'lmtp', mailFrom: 'm@example.net', recipients, smtpUtf8: false, client, peer: { helo: 'x' }, listener: 'x' }
  const decisions = recipients.map((each) => decide(each, { policy: DEFAULT_POLICY, local: true }, assessment))
  const context = { id, hostname: 'h', envelope, date: new Date(), alertHeader: 'X-Ecluse-Alert', recipientDelimiter: '' }
  const digest = createHash('sha256').update(bytes).digest('hex')
  const message = { id, sizeBytes: bytes.length, digest, header: bytes.subarray(0, 0), open: () => Readable.from([bytes]) }
  await store.put(quarantineRecord(context, decisions), message, new AbortController().signal)
}
async function list() {
  const ids = []
  for await (const { id } of store.list()) ids.push(id)
  return ids
}
let next = 0
const lane = async () => { while (next < ${MESSAGES}) { await keep(next++); if (next % 20 === 0) await list() } }
await Promise.all(Array.from({ length: 8 }, lane))
console.log('done')
await once(process.stdin, 'data')
console.log(JSON.stringify((await list()).sort()))
process.exit(0)
`

let directory = ''
const children: ChildProcess[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ecluse-writers-'))
})

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
})

interface Writer {
  readonly line: () => Promise<string>
  readonly child: ChildProcess
}

/** A process of its own, from the built dist. */
function start(first: string): Writer {
  const child = spawn(process.execPath, ['--input-type=module', '-e', WRITER, directory, first], {
    cwd: import.meta.dirname,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { child, line: async () => String((await lines.next()).value) }
}

async function listed(): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of createFileStore(directory).list()) ids.push(id)
  return ids.sort()
}

const idsOf = (first: string): string[] =>
  Array.from(
    { length: MESSAGES },
    (_, number) => `${'ABCD'[number % 4]}${first}${String(number).padStart(10, '0')}`,
  )

test('two processes write into one folder: nothing is lost, and the lists of both are right', async () => {
  const writers = [start('x'), start('y')]
  expect(await Promise.all(writers.map(async ({ line }) => await line()))).toEqual(['done', 'done'])
  const expected = [...idsOf('x'), ...idsOf('y')].sort()
  for (const { child, line } of writers) {
    child.stdin?.write('list\n')
    expect(JSON.parse(await line())).toEqual(expected)
    await once(child, 'exit')
  }
  expect(await listed()).toEqual(expected)
  await rm(join(directory, 'index'), { recursive: true })
  expect(await listed()).toEqual(expected)
  const store = createFileStore(directory)
  for (const [index, id] of idsOf('x').entries()) {
    expect((await buffer((await store.open(id)).open())).length).toBe(SIZES[index % 3])
  }
  expect(await readdir(join(directory, 'tmp'))).toEqual([])
})

test('one of two is killed: of its messages each is there whole or not at all, and the other one goes on', async () => {
  const [killed, other] = [start('x'), start('y')]
  // It is in the midst of writing as soon as there is something.
  for (;;) if ((await listed()).some((id) => id.startsWith('x', 1))) break
  killed.child.kill('SIGKILL')
  await once(killed.child, 'exit')
  expect(await other.line()).toBe('done')
  const ids = await listed()
  expect(ids.filter((id) => id.startsWith('y', 1))).toEqual(idsOf('y').sort())
  other.child.stdin?.write('list\n')
  expect(JSON.parse(await other.line())).toEqual(ids)
  const store = createFileStore(directory)
  for (const id of ids) {
    const { sizeBytes, ...kept } = await store.open(id)
    expect((await buffer(kept.open())).length).toBe(sizeBytes)
  }
  await store.prepare()
  expect(await readdir(join(directory, 'tmp'))).toEqual([])
})
