import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { readLists } from './listFiles.ts'
import { describeError } from './terminal.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function read(...names: string[]) {
  const lists = names.map((name, index) => ({ name, path: ['policies', index] }))
  const { files, failures } = await readLists(lists, folder)
  const plain = (text: string): string => text.replaceAll(folder, 'FOLDER')
  return {
    texts: [...files.values()].map(({ entries }) => entries.map(({ text }) => text)),
    paths: Array.from(files.values(), ({ path: file }) => plain(file)),
    failures: failures.map(({ error, path: named }) => [named, plain(describeError(error))]),
  }
}

test('entries are read, from paths that start at the folder or at the root', async () => {
  writeFileSync(path.join(folder, 'a'), '# friends\nA@example.org # Anna\n\n')
  writeFileSync(path.join(folder, 'b'), '')
  expect(await read('file:a', `file:${folder}/b`)).toEqual({
    texts: [['A@example.org'], []],
    paths: ['FOLDER/a', 'FOLDER/b'],
    failures: [],
  })
})

test('one that cannot be read keeps none of the others away', async () => {
  writeFileSync(path.join(folder, 'a'), 'a@example.org\n')
  writeFileSync(path.join(folder, 'c'), 'a@example.org\n\u0000\n')
  expect(await read('file:none', 'file:a', 'file:c')).toEqual({
    texts: [['a@example.org']],
    paths: ['FOLDER/a'],
    failures: [
      [['policies', 0], 'FOLDER/none: no such file (write an empty file where there are no entries yet)'],
      [['policies', 2], 'FOLDER/c:2: expected text without control characters (is this a text file?)'],
    ],
  })
})

test('one that is too large is not read', async () => {
  writeFileSync(path.join(folder, 'a'), '')
  truncateSync(path.join(folder, 'a'), 64 * 1024 * 1024 + 1)
  const { failures } = await read('file:a')
  expect(failures).toEqual([[['policies', 0], 'FOLDER/a: larger than 64MiB (is this the right file?)']])
})

test('a socket is no file, and nobody waits for it', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(path.join(folder, 'socket'), resolve))
  try {
    const { failures } = await read('file:socket', 'file:/dev/tty')
    expect(failures.map(([, text]) => text)).toEqual([
      'FOLDER/socket: cannot be read: ENXIO',
      expect.stringMatching(/^\/dev\/tty: (?:is not a regular file|cannot be read: ENXIO)/),
    ])
  } finally {
    server.close()
  }
})

test('the line that is not UTF-8 is told', async () => {
  writeFileSync(path.join(folder, 'a'), Buffer.from('a@example.org\nm\xfcller@example.org\n', 'latin1'))
  const { failures } = await read('file:a')
  expect(failures).toEqual([[['policies', 0], 'FOLDER/a:2: not UTF-8 text (save it as UTF-8)']])
})
