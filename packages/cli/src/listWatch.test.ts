import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { stampOf, type ListFile } from './listFiles.ts'
import { ListWatch, watchLists } from './listWatch.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-watch-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const at = (name: string): string => path.join(folder, name)
const asRead = async (...names: readonly string[]): Promise<ListFile[]> =>
  await Promise.all(
    names.map(async (name) => ({ path: at(name), stamp: await stampOf(at(name)), entries: [] })),
  )

/** A watch on files that are there; `asked` grows by each request, and only `accept` takes one for read. */
async function watching(...names: readonly string[]) {
  for (const name of names) writeFileSync(at(name), 'a@example.net\n')
  const asked: string[][] = []
  const state = { listFiles: (await asRead(...names)) as readonly ListFile[] }
  const watch = new ListWatch({
    get listFiles() {
      return state.listFiles
    },
    reread: async (paths) => void asked.push(paths.map((each) => path.basename(each))),
  })
  await watch.look()
  return { watch, asked, accept: async () => void (state.listFiles = await asRead(...names)), state }
}

test('what does not change is not read again', async () => {
  const { watch, asked } = await watching('a', 'b')
  await watch.look()
  await watch.look()
  expect(asked).toEqual([])
})

test('a change is read when two looks see the same, and once', async () => {
  const { watch, asked, accept } = await watching('a', 'b')
  writeFileSync(at('a'), 'b@example.net\n')
  await watch.look()
  expect(asked).toEqual([])
  await watch.look()
  expect(asked).toEqual([['a']])
  await accept()
  await watch.look()
  await watch.look()
  expect(asked).toEqual([['a']])
})

test('a file that is being written is let alone', async () => {
  const { watch, asked } = await watching('a')
  for (const size of [1, 2, 3]) {
    writeFileSync(at('a'), 'b@example.net\n'.repeat(size))
    await watch.look()
  }
  expect(asked).toEqual([])
  await watch.look()
  expect(asked).toEqual([['a']])
})

test('a new file of the same size, moved over the old one, is a change', async () => {
  const { watch, asked } = await watching('a')
  writeFileSync(at('new'), 'b@example.net\n')
  renameSync(at('new'), at('a'))
  await watch.look()
  await watch.look()
  expect(asked).toEqual([['a']])
})

test('what was tried in vain is tried again when it changes, and not before', async () => {
  const { watch, asked } = await watching('a')
  writeFileSync(at('a'), 'wrong wrong\n')
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['a']])
  writeFileSync(at('a'), 'right@example.net\n')
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['a'], ['a']])
})

test('what was tried in vain stays tried when another file has been read', async () => {
  const { watch, asked, state } = await watching('a', 'b')
  writeFileSync(at('a'), 'wrong wrong\n')
  for (let look = 0; look < 2; look++) await watch.look()
  const [a] = state.listFiles
  const [, b] = await asRead('a', 'b')
  state.listFiles = [a, b].filter((file) => file !== undefined)
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['a']])
})

test('a file that is gone is asked for once, and again when it is back', async () => {
  const { watch, asked } = await watching('a')
  renameSync(at('a'), at('away'))
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['a']])
  renameSync(at('away'), at('a'))
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['a'], ['a']])
})

test('files of another configuration are watched from then on', async () => {
  const { watch, asked, state } = await watching('a')
  writeFileSync(at('b'), '')
  state.listFiles = await asRead('b')
  await watch.look()
  rmSync(at('a'))
  writeFileSync(at('b'), 'b@example.net\n')
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['b']])
})

test('a change while the file was read is seen', async () => {
  const { watch, asked, accept } = await watching('a')
  writeFileSync(at('a'), 'b@example.net\n')
  await accept()
  writeFileSync(at('a'), 'c@example.net, and more\n')
  for (let look = 0; look < 4; look++) await watch.look()
  expect(asked).toEqual([['a']])
})

test('nothing is looked at while the reading of the look before goes on', async () => {
  writeFileSync(at('a'), '')
  const listFiles = await asRead('a')
  const reading: (() => void)[] = []
  const watch = new ListWatch({
    listFiles,
    reread: async () => await new Promise<void>((resolve) => reading.push(resolve)),
  })
  writeFileSync(at('a'), 'a@example.net\n')
  await watch.look()
  const slow = watch.look()
  while (reading.length === 0) await stampOf(at('a'))
  writeFileSync(at('a'), 'a@example.net\nb@example.net\n')
  for (let look = 0; look < 4; look++) await watch.look()
  expect(reading).toHaveLength(1)
  reading[0]?.()
  await slow
})

test('a watch that is closed lets the process end', async () => {
  const { state } = await watching('a')
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const watch = watchLists({ listFiles: state.listFiles, reread: async () => {} })
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')).toHaveLength(before + 1)
  watch.close()
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')).toHaveLength(before)
})
