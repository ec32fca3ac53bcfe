/**
 * Keeps messages: worker of quarantine.js.
 *
 * Options (see runWorker): task, count, atOnce, directory. `put` answers in seconds how long it took, and the median of
 * one in milliseconds; `how` is store or plain, each in a folder of its own that is gone at the end. `fill` keeps them
 * where they stay, and waits for no disk.
 */
import { createHash } from 'node:crypto'
import { mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { DEFAULT_POLICY, decide } from '../../packages/core/dist/index.js'
import { createFileStore, quarantineRecord } from '../../packages/quarantine/dist/index.js'
import { serveWorker } from './processes.js'
import { median } from './turns.js'

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const hour = Date.UTC(2026, 10, 24, 8)
const policy = { ...DEFAULT_POLICY, quarantine: ['virus', 'spam'] }
const never = new AbortController().signal

const idOf = (number) => letters[number % letters.length] + String(number).padStart(11, '0')

function recordOf(number) {
  const recipients = [{ address: `user${number % 977}@example.org` }]
  const client = { address: '192.0.2.7', queueId: `Q${number}` }
  const peer = { address: '127.0.0.1', helo: 'mail.example.org' }
  const from = { protocol: 'lmtp', mailFrom: `shop${number}@example.net`, smtpUtf8: false }
  const envelope = { ...from, recipients, client, peer, listener: '127.0.0.1:10024' }
  const infected = number % 10 === 0
  const found = { viruses: infected ? ['Eicar-Test-Signature'] : [], scores: infected ? [] : [21.5] }
  const assessment = { unchecked: [], virusPoints: 0, symbols: [], mustDefer: false, ...found }
  const decisions = recipients.map((each) => decide(each, { policy, local: true }, assessment))
  // The newest first, as nobody would have it in a folder.
  const date = new Date(hour - number * 1000)
  const own = { id: idOf(number), hostname: 'filter.example.org', alertHeader: 'X-Ecluse-Alert' }
  return quarantineRecord({ ...own, envelope, date, recipientDelimiter: '' }, decisions)
}

function messageOf(number, sizeBytes) {
  const header = Buffer.from(
    `From: shop${number}@example.net\r\nSubject: Offer ${number} for you alone\r\n\r\n`,
  )
  const bytes = Buffer.concat([header, Buffer.alloc(Math.max(0, sizeBytes - header.length), 'x')])
  const digest = createHash('sha256').update(bytes).digest('hex')
  const open = () => Readable.from([bytes])
  return { id: idOf(number), sizeBytes: bytes.length, digest, bytes, header, open }
}

/** `end`: what belongs to it, once. */
async function inLanes({ count, atOnce }, work, end = async () => undefined) {
  const times = []
  let next = 0
  const lane = async () => {
    while (next < count) {
      const number = next++
      const started = performance.now()
      await work(number)
      times.push(performance.now() - started)
    }
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: atOnce }, lane))
  await end()
  return { seconds: (performance.now() - started) / 1000, p50Ms: median(times) }
}

async function openedStore(directory) {
  const store = createFileStore(directory)
  await store.prepare()
  return store
}

const size = 8_192

/** What the store would write. */
async function fileBytes(directory) {
  const store = await openedStore(directory)
  await store.put(recordOf(0), messageOf(0, size), never)
  await store.close()
  const [name] = (await readdir(directory, { recursive: true })).filter((each) => each.endsWith('.eml'))
  return await readFile(join(directory, name))
}

async function syncFolder(path) {
  const folder = await open(path)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function writePlainly(folder, name, bytes) {
  const temporary = join(folder, `tmp.${name}`)
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(folder, name))
  await syncFolder(folder)
}

async function put({ how, directory, ...amount }) {
  const folder = await mkdtemp(join(directory, 'q-'))
  try {
    if (how === 'plain') {
      const bytes = await fileBytes(join(folder, 'sample'))
      return await inLanes(amount, async (number) => await writePlainly(folder, idOf(number), bytes))
    }
    const store = await openedStore(folder)
    // Digest and decision are not the store's work.
    const kept = Array.from({ length: amount.count }, (_, number) => recordOf(number))
    const messages = kept.map((_, number) => messageOf(number, size))
    return await inLanes(
      amount,
      async (number) => await store.put(kept[number], messages[number], never),
      async () => await store.close(),
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function fill({ directory, ...amount }) {
  const file = await open(process.execPath)
  Object.getPrototypeOf(file).sync = async () => undefined
  await file.close()
  const store = await openedStore(directory)
  return await inLanes(
    amount,
    async (number) => await store.put(recordOf(number), messageOf(number, 1_024), never),
    async () => await store.close(),
  )
}

serveWorker(async ({ task, ...options }) => (task === 'fill' ? await fill(options) : await put(options)))
