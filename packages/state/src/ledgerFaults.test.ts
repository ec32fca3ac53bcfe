import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { ANNA, keyOf, LedgerKit, NEVER, recall, relayed, remember } from '../test/sample.ts'
import type { Ledger } from './ledger.ts'
import { codeOf, ledgerError } from './ledgerError.ts'
import { KERNEL_DISK, type Disk } from './segmentStore.ts'

const kit = new LedgerKit()

beforeEach(async () => {
  await kit.setUp()
})

afterEach(async () => {
  await kit.tearDown()
})

const put = async (ledger: Ledger, number: number): Promise<unknown> =>
  await remember(ledger, keyOf(number), { [ANNA]: relayed(`B${number}`) })

/** The numbers of these that are remembered. */
async function known(ledger: Ledger, count: number): Promise<number[]> {
  const numbers: number[] = []
  for (let number = 0; number < count; number++) {
    const { [ANNA]: result } = await recall(ledger, keyOf(number))
    if (result?.queuedAs === `B${number}`) numbers.push(number)
  }
  return numbers
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, number) => number)

/** Whether we may mount a file system: root with CAP_SYS_ADMIN, on Linux. */
function canMount(): boolean {
  const path = mkdtempSync(join(tmpdir(), 'ecluse-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path], { stdio: 'ignore' })
    execFileSync('umount', [path])
    return true
  } catch {
    // Whatever the reason: the test that needs it is skipped.
    return false
  } finally {
    rmdirSync(path)
  }
}

/** An open file would hold it. */
async function unmount(): Promise<void> {
  await kit.closeAll()
  execFileSync('umount', [kit.directory])
}

const withMount = canMount() ? test : test.skip
// oxlint-disable jest/no-standalone-expect -- withMount is test

withMount('begins nothing on a full disk, and goes on when there is room', async () => {
  await mkdir(kit.directory)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', kit.directory])
  try {
    await writeFile(join(kit.directory, 'filler'), Buffer.alloc(24 * 1024))
    const ledger = await kit.start()
    let count = 0
    let failure: unknown
    while (failure === undefined) {
      failure = await put(ledger, count++).then(
        () => undefined,
        (err: unknown) => err,
      )
    }
    count--
    expect(count).toBeGreaterThan(50)
    const full = { code: 'E_LEDGER', hint: expect.stringContaining('the disk is full') }
    expect(failure).toMatchObject({
      ...full,
      message: `${kit.directory}: the ledger cannot be written: ENOSPC`,
    })
    await expect(ledger.begin(keyOf('x'), [ANNA], NEVER)).rejects.toMatchObject(full)
    await expect(ledger.begin(keyOf(0), [ANNA], NEVER)).rejects.toMatchObject(full)
    await expect(ledger.check()).rejects.toMatchObject(full)

    await rm(join(kit.directory, 'filler'))
    expect(await known(ledger, count + 1)).toEqual(upTo(count))
    for (let more = 0; more < 20; more++) await put(ledger, count++)
    await kit.closeAll()
    const again = kit.create()
    expect(await again.prepare()).toEqual({ entries: count, damaged: 0 })
    expect(await known(again, count)).toEqual(upTo(count))
  } finally {
    await unmount()
  }
})

withMount('does not start on a full disk, and does when there is room, with what it remembered', async () => {
  await mkdir(kit.directory)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', kit.directory])
  try {
    await put(await kit.start(), 0)
    await kit.closeAll()
    const filler = join(kit.directory, 'filler')
    await expect(writeFile(filler, Buffer.alloc(100_000))).rejects.toMatchObject({ code: 'ENOSPC' })
    const ledger = kit.create()
    await expect(ledger.prepare()).rejects.toMatchObject({
      code: 'E_LEDGER',
      hint: expect.stringContaining('full'),
    })
    await rm(filler)
    expect(await ledger.prepare()).toEqual({ entries: 1, damaged: 0 })
    await put(ledger, 1)
    expect(await known(ledger, 2)).toEqual([0, 1])
  } finally {
    await unmount()
  }
})

withMount('does not start on a file system that is read-only, and does later', async () => {
  await mkdir(kit.directory)
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', kit.directory])
  try {
    await put(await kit.start(), 0)
    await kit.closeAll()
    execFileSync('mount', ['-o', 'remount,ro', kit.directory])
    const ledger = kit.create()
    await expect(ledger.prepare()).rejects.toMatchObject({
      code: 'E_LEDGER',
      message: `${kit.directory}: cannot be used for the ledger: EROFS`,
      hint: expect.stringContaining('read-only'),
    })
    await expect(ledger.begin(keyOf(0), [ANNA], NEVER)).rejects.toMatchObject({ code: 'E_LEDGER' })
    execFileSync('mount', ['-o', 'remount,rw', kit.directory])
    expect(await ledger.prepare()).toEqual({ entries: 1, damaged: 0 })
  } finally {
    await unmount()
  }
})

// oxlint-enable jest/no-standalone-expect

/** Takes every descriptor that this process may still open; gives what frees them. */
async function exhaustDescriptors(): Promise<() => Promise<void>> {
  const limit = (value: string): void => {
    execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${value}:`], { stdio: 'ignore' })
  }
  const limits = await readFile('/proc/self/limits', 'utf8')
  const before = /^Max open files +(\S+)/m.exec(limits)?.[1] ?? 'unlimited'
  limit('200')
  const files: FileHandle[] = []
  try {
    for (;;) files.push(await open('/dev/null'))
  } catch (err) {
    if (codeOf(err) !== 'EMFILE') throw err
  }
  return async () => {
    for (const file of files) await file.close()
    limit(before)
  }
}

test('remembers without a free descriptor, but does not guess what it cannot read', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  const free = await exhaustDescriptors()
  try {
    await expect(recall(ledger, keyOf(0))).rejects.toMatchObject({
      code: 'E_LEDGER',
      message: `${kit.directory}: the ledger cannot be read: EMFILE`,
      hint: expect.stringContaining('LimitNOFILE'),
    })
    await put(ledger, 1)
  } finally {
    await free()
  }
  expect(await known(ledger, 2)).toEqual([0, 1])
})

test('makes its folder anew when somebody has removed it', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  await rm(kit.directory, { recursive: true })
  kit.now += 1000
  await put(ledger, 1)
  expect(await known(ledger, 2)).toEqual([1])
  expect(await known(await kit.restart(), 2)).toEqual([1])
})

test('begins a new file when somebody has removed the one it writes to', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  for (const name of await readdir(kit.directory)) {
    if (name.endsWith('.log')) await rm(join(kit.directory, name))
  }
  kit.now += 1000
  await put(ledger, 1)
  expect(await known(await kit.restart(), 2)).toEqual([1])
})

test('takes its lock again when somebody has removed it', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  await rm(join(kit.directory, 'ledger.lock'))
  kit.now += 1000
  await put(ledger, 1)
  await expect(kit.start()).rejects.toMatchObject({ message: expect.stringContaining('another process') })
  expect(await known(ledger, 2)).toEqual([0, 1])
})

test('fails while there is a file in the place of its folder', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  await rename(kit.directory, `${kit.directory}.old`)
  await writeFile(kit.directory, '')
  kit.now += 1000
  const failure = { code: 'E_LEDGER', hint: expect.stringContaining('a file where the folder should be') }
  await expect(ledger.check()).rejects.toMatchObject(failure)
  await expect(put(ledger, 1)).rejects.toMatchObject(failure)
  await rm(kit.directory)
  await rename(`${kit.directory}.old`, kit.directory)
  await put(ledger, 2)
  expect(await known(ledger, 3)).toEqual([0, 2])
  expect(await known(await kit.restart(), 3)).toEqual([0, 2])
})

test('stops when another process has got the folder', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  await rename(kit.directory, `${kit.directory}.old`)
  const other = await kit.start()
  kit.now += 1000
  const failure = { code: 'E_LEDGER', message: expect.stringContaining('another process works') }
  await expect(ledger.check()).rejects.toMatchObject(failure)
  await expect(put(ledger, 1)).rejects.toMatchObject(failure)
  await put(other, 2)
  await other.close()
  await put(ledger, 3)
})

test('does not start where another ledger works', async () => {
  await kit.start()
  await expect(kit.start()).rejects.toMatchObject({
    code: 'E_LEDGER',
    message: `${kit.directory}: another process works in this folder`,
  })
})

/** Each operation asks whether it shall fail; writes take a few bytes at a time. */
class FailingDisk implements Disk {
  failing: readonly string[] = []
  most = 7
  writes = 0
  running = 0
  mostRunning = 0
  /** What has to happen before a write. */
  gate: Promise<void> | undefined

  async write(file: FileHandle, bytes: Buffer, place: number): Promise<number> {
    this.writes++
    this.mostRunning = Math.max(this.mostRunning, ++this.running)
    try {
      await this.gate
      const taken = await KERNEL_DISK.write(file, bytes.subarray(0, this.most), place)
      this.check('write')
      return taken
    } finally {
      this.running--
    }
  }

  async truncate(file: FileHandle, sizeBytes: number): Promise<void> {
    this.check('truncate')
    await KERNEL_DISK.truncate(file, sizeBytes)
  }

  check(what: string): void {
    if (this.failing.includes(what)) throw Object.assign(new Error('i/o error'), { code: 'EIO' })
  }
}

test('goes on where the kernel took a part only', async () => {
  const ledger = await kit.start({ disk: new FailingDisk() })
  await put(ledger, 0)
  await put(ledger, 1)
  expect(await known(await kit.restart(), 2)).toEqual([0, 1])
})

test.each([[['write']], [['write', 'truncate']]])(
  'fails with the disk (%j), and recovers with it',
  async (failing) => {
    const disk = new FailingDisk()
    const ledger = await kit.start({ disk })
    await put(ledger, 0)
    disk.failing = failing
    const attempt = await ledger.begin(keyOf(1), [ANNA], NEVER)
    const failure = { code: 'E_LEDGER', message: expect.stringContaining('EIO') }
    await expect(attempt.record(new Map([[ANNA, relayed('B1')]]))).rejects.toMatchObject(failure)
    for (let round = 0; round < 5; round++) {
      await expect(ledger.begin(keyOf(2), [ANNA], NEVER)).rejects.toMatchObject(failure)
    }
    disk.failing = []
    // One that has begun may record as soon as that works, and lets others begin.
    await attempt.record(new Map([[ANNA, relayed('B1')]]))
    attempt.end()
    await put(ledger, 2)
    expect(await known(ledger, 3)).toEqual([0, 1, 2])
    await kit.closeAll()
    const again = kit.create()
    // What could not be taken back stands in a file that was given up.
    const damaged = failing.includes('truncate') ? 1 : 0
    expect(await again.prepare()).toEqual({ entries: 3, damaged })
    expect(await known(again, 3)).toEqual([0, 1, 2])
    expect((await readdir(kit.directory)).length).toBeLessThan(4)
  },
)

test('tells those who wait for a failed attempt', async () => {
  const disk = new FailingDisk()
  const ledger = await kit.start({ disk })
  const first = await ledger.begin(keyOf(0), [ANNA], NEVER)
  const second = ledger.begin(keyOf(0), [ANNA], NEVER)
  disk.failing = ['write']
  await expect(first.record(new Map([[ANNA, relayed()]]))).rejects.toMatchObject({ code: 'E_LEDGER' })
  first.end()
  await expect(second).rejects.toMatchObject({ code: 'E_LEDGER' })
  disk.failing = []
  await put(ledger, 0)
})

test('tries once for all who come at the same time', async () => {
  const disk = new FailingDisk()
  disk.most = 1_000_000
  const ledger = await kit.start({ disk })
  disk.failing = ['write']
  await expect(ledger.check()).rejects.toMatchObject({ code: 'E_LEDGER' })
  const before = disk.writes
  const results = await Promise.allSettled(
    upTo(50).map(async (number) => await ledger.begin(keyOf(number), [ANNA], new AbortController().signal)),
  )
  expect(results.every(({ status }) => status === 'rejected')).toBe(true)
  expect(disk.writes - before).toBe(1)
  disk.failing = []
  for (const number of upTo(3)) (await ledger.begin(keyOf(number), [ANNA], NEVER)).end()
  // The first of them has seen that it works.
  expect(disk.writes - before).toBe(2)
})

test('writes together what comes while a write is under way, and one write at a time', async () => {
  const disk = new FailingDisk()
  disk.most = 1_000_000
  const ledger = await kit.start({ disk })
  const before = disk.writes
  await Promise.all(upTo(100).map((number) => put(ledger, number)))
  expect([disk.writes - before, disk.mostRunning]).toEqual([2, 1])
  expect(await known(await kit.restart(), 100)).toEqual(upTo(100))
})

test('gives up waiting for a disk that hangs', async () => {
  const disk = new FailingDisk()
  const ledger = await kit.start({ disk })
  disk.failing = ['write']
  await expect(ledger.check()).rejects.toMatchObject({ code: 'E_LEDGER' })
  disk.failing = []
  let open = (): void => undefined
  disk.gate = new Promise((resolve) => {
    open = resolve
  })
  const controller = new AbortController()
  const begun = ledger.begin(keyOf(0), [ANNA], controller.signal)
  controller.abort()
  await expect(begun).rejects.toMatchObject({ code: 'E_ABORTED' })
  open()
  await put(ledger, 0)
})

test('repairs a torn tail before it goes on, and counts it once', async () => {
  const ledger = await kit.start()
  await put(ledger, 0)
  await put(ledger, 1)
  await kit.closeAll()
  const [name = ''] = (await readdir(kit.directory)).filter((each) => each.endsWith('.log'))
  const path = join(kit.directory, name)
  await truncate(path, (await readFile(path)).length - 5)
  const again = kit.create()
  expect(await again.prepare()).toEqual({ entries: 1, damaged: 1 })
  await put(again, 2)
  expect(await known(again, 3)).toEqual([0, 2])
  await kit.closeAll()
  expect(await kit.create().prepare()).toEqual({ entries: 2, damaged: 0 })
})

test.each([
  ['ENOSPC', 'the disk is full'],
  ['EDQUOT', 'the disk is full'],
  ['EFBIG', 'LimitFSIZE'],
  ['EACCES', 'must belong to the user'],
  ['EPERM', 'must belong to the user'],
  ['EROFS', 'read-only'],
  ['ENOENT', 'does not exist'],
  ['ENOTDIR', 'a file where the folder should be'],
  ['ELOOP', 'symbolic link'],
  ['ENFILE', 'LimitNOFILE'],
  ['EIO', 'the disk fails'],
  ['EOPNOTSUPP', 'local disk'],
])('tells the cure of %s', (code, hint) => {
  const error = ledgerError(Object.assign(new Error('x'), { code }), '/l')
  expect([error.code, error.message]).toEqual(['E_LEDGER', `/l: ${code}`])
  expect(error.hint).toContain(hint)
})
