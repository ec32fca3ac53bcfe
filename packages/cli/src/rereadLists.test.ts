import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { Envelope, Rules } from '@ecluse/core'
import { loadConfig } from './loadConfig.ts'
import { Reloading } from './reload.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-reload-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const at = (name: string): string => path.join(folder, name)
const BOTH = `localDomains: [example.org]
networks: [192.0.2.0/24]
senders:
  - { action: block, senders: ['file:a'] }
  - { action: block, senders: ['file:b'] }
`

const ENVELOPE: Envelope = {
  protocol: 'lmtp',
  mailFrom: '',
  recipients: [],
  smtpUtf8: false,
  client: {},
  peer: { helo: 'mail.example.org' },
  listener: '127.0.0.1:10024',
}

/** A daemon's part in a reload, with what came of it. */
async function started() {
  writeFileSync(at('ecluse.yaml'), BOTH)
  writeFileSync(at('a'), 'a@example.net\n')
  writeFileSync(at('b'), 'b@example.net\n')
  const around = {
    kinds: [],
    env: {},
    hostname: 'mail.example.org',
    commands: [],
    version: '0',
    out: () => {},
    complain: () => {},
  }
  const loaded = await loadConfig(at('ecluse.yaml'), around)
  if ('errors' in loaded) throw new TypeError(String(loaded.errors))
  const now: { rules: Rules } = { rules: loaded.rules }
  const said: string[] = []
  const line = (fields: Readonly<Record<string, unknown>>, message: string): void =>
    void said.push(`${message}: ${JSON.stringify(fields).replaceAll(`${folder}/`, '')}`)
  const log = { error: line, warn: line, info: line, debug: line, message: () => {}, setLevel: () => {} }
  const reloading = new Reloading({
    daemon: {
      reload: async (read) => {
        // What was in force is not looked at: the lists say everything.
        Object.assign(now, await read({} as never))
        return true
      },
    },
    config: loaded.config,
    lists: loaded,
    file: at('ecluse.yaml'),
    around,
    log,
  })
  const isBlocked = (user: string): boolean => {
    const mail = now.rules.forMail({ ...ENVELOPE, mailFrom: `${user}@example.net` }, [])
    return mail.standingFor('x@example.org', []).listed === 'blocked'
  }
  const blocked = (): string[] => ['a', 'a2', 'b', 'b2', 'c'].filter(isBlocked)
  return { reloading, said, blocked, rules: () => now.rules }
}

test('a list that changed is in force with the others as they were', async () => {
  const { reloading, said, blocked } = await started()
  writeFileSync(at('a'), 'a2@example.net\n')
  writeFileSync(at('b'), 'b2@example.net\n')
  await reloading.reread([at('a')])
  expect(blocked()).toEqual(['a2', 'b'])
  expect(said).toEqual(['lists read again: {"files":["a"]}'])
})

test.each<[string, string | Buffer, string]>([
  ['an entry that is none', 'a2@example.net\nnot an entry\n', 'a:2: expected an address'],
  [
    'a line with control characters',
    'a2@example.net\n\u0007\n',
    'a:2: expected text without control characters',
  ],
  ['what is not UTF-8', Buffer.from('caf\xe9@example.net\n', 'latin1'), 'a:1: not UTF-8 text'],
  ['a regular expression that is none', '/(/\n', 'a:1: expected a regular expression'],
])('%s changes nothing and is told with file and line; the other file is read', async (_, text, told) => {
  const { reloading, said, blocked, rules } = await started()
  writeFileSync(at('a'), text)
  writeFileSync(at('b'), 'b2@example.net\n')
  const before = rules()
  await reloading.reread([at('a')])
  expect(rules()).toBe(before)
  await reloading.reread([at('a'), at('b')])
  expect(blocked()).toEqual(['a', 'b2'])
  expect(said).toHaveLength(3)
  expect(said[0]).toContain(`list not read again, its old entries stay: {"error":"${told}`)
  expect(said[1]).toBe(said[0])
  expect(said[2]).toBe('lists read again: {"files":["b"]}')
})

test('a list that is gone keeps its entries, and says so', async () => {
  const { reloading, said, blocked } = await started()
  rmSync(at('a'))
  await reloading.reread([at('a')])
  expect(blocked()).toEqual(['a', 'b'])
  expect(said).toHaveLength(1)
  expect(said[0]).toContain('list not read again, its old entries stay: {"error":"a: no such file')
})

test('a list that is gone does not keep another one from being read', async () => {
  const { reloading, blocked } = await started()
  rmSync(at('a'))
  writeFileSync(at('b'), 'b2@example.net\n')
  await reloading.reread([at('b')])
  expect(blocked()).toEqual(['a', 'b2'])
})

test('asked to reload while lists are read, it does one after the other', async () => {
  const { reloading, said, blocked } = await started()
  writeFileSync(at('ecluse.yaml'), BOTH.replace("'file:b'", 'c@example.net'))
  writeFileSync(at('a'), 'a2@example.net\n')
  const first = reloading.reread([at('a')])
  const second = reloading.reload()
  const third = reloading.reread([at('b')])
  await Promise.all([first, second, third])
  expect(blocked()).toEqual(['a2', 'c'])
  expect(reloading.listFiles.map((file) => file.path)).toEqual([at('a')])
  expect(said.filter((line) => line.startsWith('list not'))).toEqual([])
})

test('each reading gives another array of files, with the stamps of that time', async () => {
  const { reloading } = await started()
  const before = reloading.listFiles
  writeFileSync(at('a'), 'a2@example.net\n')
  await reloading.reread([at('a')])
  expect(reloading.listFiles).not.toBe(before)
  expect(reloading.listFiles.map(({ stamp }, index) => stamp === before[index]?.stamp)).toEqual([false, true])
})
