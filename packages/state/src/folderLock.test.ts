import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { lockFolder, type FolderLock } from './folderLock.ts'

let root = ''
let directory = ''
const held: FolderLock[] = []
const children: ChildProcess[] = []

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ecluse-lock-'))
  directory = join(root, 'ledger')
  await mkdir(directory)
})

afterEach(async () => {
  for (const lock of held.splice(0)) await lock.release()
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(root, { recursive: true, force: true })
})

async function take(): Promise<FolderLock> {
  const lock = await lockFolder(directory)
  held.push(lock)
  return lock
}

/** Another process that holds the lock, in the way that this one does. */
async function otherProcess(): Promise<ChildProcess> {
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('ready'))`
  const child = spawn(process.execPath, ['-e', script, join(directory, 'ledger.lock')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  await once(child.stdout as NonNullable<typeof child.stdout>, 'data')
  return child
}

const TAKEN = {
  code: 'E_LEDGER',
  message: expect.stringContaining('another process works in this folder'),
  hint: expect.stringContaining('a folder of its own'),
}

test('is held until it is released, and leaves nothing', async () => {
  const lock = await take()
  expect(await lock.isHeld()).toBe(true)
  await expect(lockFolder(directory)).rejects.toMatchObject(TAKEN)
  expect(await readdir(directory)).toEqual(['ledger.lock'])
  await lock.release()
  expect([await lock.isHeld(), await readdir(directory)]).toEqual([false, []])
  await take()
  held.shift()
})

test.each(['SIGKILL', 'SIGTERM'] as const)('is free when the other process ends by %s', async (signal) => {
  const child = await otherProcess()
  await expect(lockFolder(directory)).rejects.toMatchObject(TAKEN)
  child.kill(signal)
  await once(child, 'exit')
  expect(await readdir(directory)).toEqual(['ledger.lock'])
  expect(await (await take()).isHeld()).toBe(true)
  expect(await readdir(directory)).toEqual(['ledger.lock'])
})

test('is not free when the other process stands still', async () => {
  const child = await otherProcess()
  child.kill('SIGSTOP')
  await expect(lockFolder(directory)).rejects.toMatchObject(TAKEN)
})

test('goes to one of many who come together', async () => {
  const results = await Promise.allSettled(Array.from({ length: 20 }, async () => await take()))
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
})

test('is held by one in the end, of many who find a dead one together', async () => {
  const child = await otherProcess()
  child.kill('SIGKILL')
  await once(child, 'exit')
  await Promise.allSettled(Array.from({ length: 20 }, async () => await take()))
  const holders = await Promise.all(held.map(async (lock) => await lock.isHeld()))
  expect(holders.filter(Boolean)).toHaveLength(1)
})

test('is lost with its folder, and does not take the lock of another one with it', async () => {
  const lock = await take()
  await rename(directory, `${directory}.old`)
  expect(await lock.isHeld()).toBe(false)
  await mkdir(directory)
  const other = await take()
  expect([await lock.isHeld(), await other.isHeld()]).toEqual([false, true])
  await lock.release()
  expect(await other.isHeld()).toBe(true)
})

test('is lost to whoever takes it after somebody has removed it, and does not take that with it', async () => {
  const lock = await take()
  await rm(join(directory, 'ledger.lock'))
  expect(await lock.isHeld()).toBe(false)
  const other = await take()
  expect([await lock.isHeld(), await other.isHeld()]).toEqual([false, true])
  await lock.release()
  expect(await other.isHeld()).toBe(true)
})

test('works in a folder with a long path', async () => {
  directory = join(root, ...Array.from({ length: 5 }, () => 'x'.repeat(100)))
  await mkdir(directory, { recursive: true })
  expect(await (await take()).isHeld()).toBe(true)
})

test('does not remove a file that has its name', async () => {
  await writeFile(join(directory, 'ledger.lock'), 'text')
  await expect(lockFolder(directory)).rejects.toMatchObject({
    code: 'E_LEDGER',
    message: `${join(directory, 'ledger.lock')}: is not a socket`,
    hint: 'remove it',
  })
  expect(await readdir(directory)).toEqual(['ledger.lock'])
})

test.each([
  ['ENOENT', async () => await rm(directory, { recursive: true })],
  [
    'ENOTDIR',
    async () => {
      await rm(directory, { recursive: true })
      await writeFile(directory, '')
    },
  ],
])('says %s where there is no folder', async (code, prepare) => {
  await prepare()
  await expect(lockFolder(directory)).rejects.toMatchObject({ code })
})
