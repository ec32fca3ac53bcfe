import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { deliveryOf, findLog, readTail } from './postfixLog.ts'

const START = 'Nov 24 11:20:00 mail postfix/ecluse/lmtp[77]: 4X1: to=<a@example.org>, '
const TIMES = 'delay=0.1, delays=0.05/0.01/0/0.04, dsn=2.0.0, '

test.each([
  [
    `${START}relay=127.0.0.1[127.0.0.1]:10024, ${TIMES}status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4X2)`,
    {
      relay: '127.0.0.1[127.0.0.1]:10024',
      status: 'sent',
      reply: '250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4X2',
    },
  ],
  [
    `${START}orig_to=<b@example.org>, relay=local, conn_use=2, ${TIMES}status=bounced (unknown user: "a")\r`,
    { relay: 'local', status: 'bounced', reply: 'unknown user: "a"' },
  ],
  // What a server says is no status of Postfix.
  [
    `${START}relay=evil[192.0.2.1]:25, ${TIMES}status=deferred (x, relay=127.0.0.1, ${TIMES}status=sent (250 ok))`,
    {
      relay: 'evil[192.0.2.1]:25',
      status: 'deferred',
      reply: `x, relay=127.0.0.1, ${TIMES}status=sent (250 ok)`,
    },
  ],
  ['Nov 24 mail postfix/qmgr[7]: 4X1: from=<>, size=1, nrcpt=1 (queue active)', undefined],
  [START.replace('4X1', '4X11'), undefined],
  ['', undefined],
])('reads the delivery from %j', (line, delivery) => {
  expect(deliveryOf(`other line\n${line}\nrest`, '4X1')).toEqual(delivery)
})

test('a line that is torn anywhere is none', () => {
  const line = `${START}relay=local, ${TIMES}status=sent (delivered)`
  for (let end = 0; end < line.length; end++) expect(deliveryOf(line.slice(0, end), '4X1')).toBeUndefined()
})

test('a line longer than Postfix writes is none', () => {
  expect(deliveryOf(`${START}relay=local, ${TIMES}status=sent (${'x'.repeat(8000)})`, '4X1')).toBeUndefined()
})

describe('a log file', () => {
  let directory = ''

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ecluse-log-'))
  })

  afterEach(async () => {
    await rm(directory, { recursive: true })
  })

  test('is read from where it ended', async () => {
    const path = join(directory, 'maillog')
    await writeFile(path, 'old\n')
    const log = await findLog(path)
    expect(log).toEqual({ path, start: 4 })
    await appendFile(path, 'new\n')
    expect(log && (await readTail(log))).toBe('new\n')
  })

  test('that was rotated is read from its start', async () => {
    const path = join(directory, 'maillog')
    await writeFile(path, 'a long old line\n')
    const log = await findLog(path)
    await writeFile(path, 'new\n')
    expect(log && (await readTail(log))).toBe('new\n')
  })

  test('that is gone has nothing', async () => {
    await expect(readTail({ path: join(directory, 'gone'), start: 0 })).resolves.toBe('')
    await expect(findLog(join(directory, 'gone'))).resolves.toBeUndefined()
  })
})
