import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { compileRules, configSchema } from '@ecluse/core'
import { createLog, type ReadOptions, type ReloadableOptions } from '@ecluse/daemon'
import { SCANNER_KINDS } from '@ecluse/scanners'
import { Reloading } from './reload.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
  file = path.join(folder, 'ecluse.yaml')
  write('X-Start')
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(alertHeader: string, more = ''): void {
  writeFileSync(file, `localDomains: [example.org]\nalertHeader: ${alertHeader}\n${more}`)
}

/** A daemon that lets each reload wait before it reads, and writes down what it was given. */
function start() {
  const config = configSchema(SCANNER_KINDS, 'mail.example.org').parse({
    localDomains: ['example.org'],
    alertHeader: 'X-Start',
  })
  const headers: (string | undefined)[] = []
  const lines: Record<string, unknown>[] = []
  const waiting: (() => void)[] = []
  const arrivals: (() => void)[] = []
  let closing = false
  const reload = async (read: ReadOptions): Promise<boolean> => {
    await new Promise<void>((resolve) => {
      waiting.push(resolve)
      arrivals.pop()?.()
    })
    if (closing) return false
    // What was in force before is not looked at: the file says everything.
    const options: Partial<ReloadableOptions> = await read({} as ReloadableOptions)
    headers.push(options.alertHeader)
    return true
  }
  const log = createLog('info', 'json', {
    write: (line) => {
      const { time: _, ...rest } = JSON.parse(line.replaceAll(folder, 'FOLDER')) as Record<string, unknown>
      if (rest['msg'] !== 'configuration') lines.push(rest)
    },
  })
  const around = { kinds: SCANNER_KINDS, env: {}, hostname: 'mail.example.org' }
  const rules = compileRules(config, new Map())
  const lists = { rules, listFiles: [], reread: () => Promise.reject(new TypeError('there are no lists')) }
  const reloading = new Reloading({ daemon: { reload }, config, lists, file, around, log })
  return {
    ask: () => reloading.reload(),
    headers,
    lines,
    waiting,
    /** When the next reload waits. */
    arrival: async () => await new Promise<void>((resolve) => void arrivals.push(resolve)),
    close: () => void (closing = true),
  }
}

const changed = (...keys: string[]) => ({ level: 'info', changed: keys, msg: 'configuration reloaded' })

test('asked while it is at work, it does it once more, with the file as it is then', async () => {
  const { ask, headers, lines, waiting, arrival } = start()
  write('X-First')
  const done = ask()
  await Promise.all([ask(), ask(), ask()])
  expect(waiting).toHaveLength(1)
  const again = arrival()
  waiting[0]?.()
  await Promise.race([again, done])
  write('X-Last')
  waiting[1]?.()
  await done
  expect(headers).toEqual(['X-First', 'X-Last'])
  expect(waiting).toHaveLength(2)
  expect(lines).toEqual([changed('alertHeader'), changed('alertHeader')])
})

test('asked again when it is done, it compares with what is in force', async () => {
  const { ask, headers, lines, waiting } = start()
  const once = async (): Promise<void> => {
    const done = ask()
    waiting.at(-1)?.()
    await done
  }
  write('X-First', 'hostname: other.example.org\n')
  await once()
  await once()
  write('nonsense')
  await once()
  write('X-First')
  await once()
  expect(headers).toEqual(['X-First', 'X-First', 'X-First'])
  const restart = {
    level: 'warn',
    keys: ['hostname'],
    msg: 'changed, but needs a restart: the old value stays',
  }
  expect(lines).toEqual([
    restart,
    changed('alertHeader'),
    restart,
    changed(),
    {
      level: 'error',
      error: expect.stringMatching(/^FOLDER\/ecluse\.yaml:2:14: alertHeader: expected a field name/),
      msg: 'configuration not reloaded, the old one stays',
    },
    changed(),
  ])
})

test('says nothing when the daemon is closing', async () => {
  const { ask, headers, lines, waiting, close } = start()
  const done = ask()
  close()
  waiting[0]?.()
  await done
  expect([headers, lines]).toEqual([[], []])
})
