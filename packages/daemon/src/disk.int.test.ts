/* Disks that are full or read-only: real ones, small file systems in memory, for root alone. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { open, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, describe, expect, test } from '@jest/globals'
import { EICAR } from '@ecluse/fixtures'
import { createFileStore } from '@ecluse/quarantine'
import { onRelease, releaseAll, sendMail, startTestDaemon, until, type TestDaemon } from './daemon.testkit.ts'

afterEach(releaseAll)

const MOUNT_MB = 4

function mount(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ecluse-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${MOUNT_MB}m,mode=700`, 'tmpfs', folder])
  return folder
}

function unmount(folder: string): void {
  execFileSync('umount', [folder])
  rmSync(folder, { recursive: true })
}

/** Absent: a file system can be mounted here. */
function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may mount'
  try {
    unmount(mount())
    return undefined
  } catch {
    return 'mounting is not allowed here'
  }
}

const reason = whyNot()
const describeDisk = reason === undefined ? describe : describe.skip
const where = reason === undefined ? '' : ` (skipped: ${reason})`

/** Leaves so many bytes free. */
async function fill(folder: string, freeBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  try {
    await writeFile(join(folder, 'filler'), Buffer.alloc(Math.max(0, bavail * bsize - freeBytes), 'x'))
  } catch (error) {
    // A probe has a block of it meanwhile, where none shall be left.
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}

/** Leaves nothing free, nor what a probe has meanwhile. */
async function fillUp({ kit, folder }: Disk): Promise<void> {
  const filler = await open(join(folder, 'filler'), 'w')
  try {
    await until(async () => {
      try {
        for (;;) await filler.write(Buffer.alloc(64 * 1024, 'x'))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
      return kit.daemon.notReady().length > 0
    })
  } finally {
    await filler.close()
  }
}

interface Disk {
  readonly kit: TestDaemon
  readonly folder: string
}

/** A daemon with spool or quarantine on a small file system. */
async function start(which: 'spool' | 'quarantine'): Promise<Disk> {
  const disk = mount()
  onRelease(() => unmount(disk))
  const folder = join(disk, which)
  mkdirSync(folder, { mode: 0o700 })
  const kit = await startTestDaemon({
    versionIntervalMs: 20,
    ...(which === 'spool'
      ? { spool: { directory: folder, memoryBytes: 10_000 } }
      : { quarantine: createFileStore(folder), memoryBytes: 10_000 }),
  })
  return { kit, folder: disk }
}

const SIZES = [11_000, 65_536, 200_000, 500_000, 11_000, 65_536, 200_000, 500_000, 900_000, 900_000]
const LINE = `${'x'.repeat(70)}\r\n`
const mailOf = (bytes: number): string => `Subject: ${bytes}\r\n\r\n${LINE.repeat(bytes / LINE.length)}`
const virusOf = (bytes: number): string =>
  `Subject: ${bytes}\r\n\r\n${EICAR}\r\n${LINE.repeat(bytes / LINE.length)}`

/** One after the other; gives the class of each reply. */
async function sendAll(kit: TestDaemon, contents: readonly string[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const content of contents) {
    const { dot } = await sendMail(await kit.greet(), { to: ['r@example.org'], content })
    const code = dot[0]?.slice(0, 3) ?? ''
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts
}

const delivered = ({ mta }: TestDaemon): number => mta.transactions.filter(({ complete }) => complete).length

/** The file of a probe may have its name for a moment. */
async function nothingLeft(folder: string): Promise<void> {
  await until(() => readdirSync(join(folder, 'spool')).length === 0)
}

async function readyAgain(kit: TestDaemon): Promise<void> {
  await until(() => kit.daemon.notReady().length === 0)
}

describeDisk(`the spool's disk${where}`, () => {
  test('full: all large ones are deferred, small ones pass, and all pass when there is room', async () => {
    const disk = await start('spool')
    const { kit, folder } = disk
    await fillUp(disk)
    expect(await sendAll(kit, SIZES.map(mailOf))).toEqual({ 451: SIZES.length })
    expect(await sendAll(kit, ['Subject: small\r\n\r\nx\r\n'])).toEqual({ 250: 1 })
    await until(() => kit.daemon.notReady().length > 0)
    expect(kit.daemon.notReady()).toEqual([expect.stringMatching(/^folders: E_SPOOL: .*ENOSPC$/)])
    await nothingLeft(folder)
    expect(delivered(kit)).toBe(1)
    // Known by now: it is not read to be deferred.
    const client = await kit.greet()
    expect(await client.ask('MAIL FROM:<a@example.com> SIZE=10001')).toBe(
      '452 4.3.1 Insufficient system storage',
    )
    expect(await client.ask('MAIL FROM:<a@example.com> SIZE=10000')).toMatch(/^250 /)
    await rm(join(folder, 'filler'))
    await readyAgain(kit)
    await client.ask('RSET')
    expect(await client.ask('MAIL FROM:<a@example.com> SIZE=10001')).toMatch(/^250 /)
    expect(await sendAll(kit, SIZES.map(mailOf))).toEqual({ 250: SIZES.length })
    expect(delivered(kit)).toBe(1 + SIZES.length)
    expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(0)
  })

  test('full at every 64 KiB of a message: what got 250 is there whole, nothing is left', async () => {
    const { kit, folder } = await start('spool')
    const content = mailOf(512 * 1024)
    const counts: Record<string, number> = {}
    for (let free = 0; free < 768 * 1024; free += 64 * 1024) {
      await fill(folder, free)
      for (const [code, count] of Object.entries(await sendAll(kit, [content]))) {
        counts[code] = (counts[code] ?? 0) + count
      }
      await rm(join(folder, 'filler'))
      await nothingLeft(folder)
    }
    // Up to 512 KiB it does not fit.
    expect(counts).toEqual({ 250: 4, 451: 8 })
    const whole = kit.mta.transactions.filter(({ data }) => data.length >= content.length - LINE.length)
    expect([whole.length, delivered(kit)]).toEqual([4, 4])
  })

  test('read-only: deferred, told, and over when it can be written', async () => {
    const { kit, folder } = await start('spool')
    execFileSync('mount', ['-o', 'remount,ro', folder])
    expect(await sendAll(kit, SIZES.map(mailOf))).toEqual({ 451: SIZES.length })
    await until(() => kit.daemon.notReady().length > 0)
    expect(kit.daemon.notReady()).toEqual([expect.stringMatching(/^folders: E_SPOOL: .*EROFS$/)])
    execFileSync('mount', ['-o', 'remount,rw', folder])
    await readyAgain(kit)
    expect(await sendAll(kit, SIZES.map(mailOf))).toEqual({ 250: SIZES.length })
    expect(delivered(kit)).toBe(SIZES.length)
  })
})

describeDisk(`the disk of the quarantine${where}`, () => {
  /** All but the file of a probe, which may have its name for a moment. */
  const kept = (folder: string): string[] =>
    readdirSync(join(folder, 'quarantine'), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith('.eml') || /tmp\/(?!probe\.)/.test(name))

  test.each([
    ['full', 'ENOSPC', fillUp, async (folder: string) => await rm(join(folder, 'filler'))],
    [
      'read-only',
      'EROFS',
      async ({ folder }: Disk) => void execFileSync('mount', ['-o', 'remount,ro', folder]),
      async (folder: string) => void execFileSync('mount', ['-o', 'remount,rw', folder]),
    ],
  ])('%s: a virus is deferred, ham passes, and all is kept after that', async (_, code, fail, mend) => {
    const disk = await start('quarantine')
    const { kit, folder } = disk
    await fail(disk)
    expect(await sendAll(kit, SIZES.map(virusOf))).toEqual({ 451: SIZES.length })
    expect(await sendAll(kit, SIZES.map(mailOf))).toEqual({ 250: SIZES.length })
    await until(() => kit.daemon.notReady().length > 0)
    expect(kit.daemon.notReady()).toEqual([expect.stringMatching(`^folders: E_QUARANTINE: .*${code}$`)])
    expect(kept(folder)).toEqual([])
    await mend(folder)
    await readyAgain(kit)
    const small = SIZES.filter((bytes) => bytes < 300_000)
    expect(await sendAll(kit, small.map(virusOf))).toEqual({ 250: small.length })
    expect(kept(folder)).toHaveLength(small.length)
    expect(delivered(kit)).toBe(SIZES.length)
    expect((await kit.metrics()).get('ecluse_internal_errors_total')).toBe(0)
  })

  /** Ids as the store shows them, without its help those of the files. */
  async function listed(folder: string): Promise<string[]> {
    const ids: string[] = []
    for await (const { id } of createFileStore(join(folder, 'quarantine')).list()) ids.push(id)
    return ids.sort()
  }
  const stored = (folder: string): string[] =>
    kept(folder)
      .map((name) => name.slice(-16, -4))
      .sort()

  test('full at every 64 KiB of a message: nothing half is seen, and the list is right', async () => {
    const { kit, folder } = await start('quarantine')
    const content = virusOf(512 * 1024)
    const counts: Record<string, number> = {}
    for (let free = 0; free < 768 * 1024; free += 64 * 1024) {
      await fill(folder, free)
      for (const code of Object.keys(await sendAll(kit, [content]))) counts[code] = (counts[code] ?? 0) + 1
      // While it is full, and when there is room again.
      expect(await listed(folder)).toEqual(stored(folder))
      await rm(join(folder, 'filler'))
      expect(stored(folder)).toHaveLength(counts['250'] ?? 0)
      expect(await listed(folder)).toEqual(stored(folder))
    }
    // Up to 512 KiB it does not fit.
    expect(counts).toEqual({ 250: 3, 451: 9 })
    const before = await listed(folder)
    await rm(join(folder, 'quarantine/index'), { recursive: true })
    expect(await listed(folder)).toEqual(before)
    for (const id of before) {
      const { sizeBytes, ...whole } = await createFileStore(join(folder, 'quarantine')).open(id)
      expect((await buffer(whole.open())).length).toBe(sizeBytes)
    }
  })

  test('filling up: what got 250 is there, what is not got 451', async () => {
    const { kit, folder } = await start('quarantine')
    const contents = Array.from({ length: 20 }, () => virusOf(400_000))
    const counts = await sendAll(kit, contents)
    expect((counts['250'] ?? 0) + (counts['451'] ?? 0)).toBe(20)
    expect(counts['451']).toBeGreaterThan(5)
    expect(kept(folder)).toHaveLength(counts['250'] ?? 0)
  })
})
