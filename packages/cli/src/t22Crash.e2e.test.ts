import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import {
  connectLmtp,
  startEcluse,
  startSmtpSink,
  type EcluseService,
  type LmtpClient,
  type SmtpSink,
} from '@ecluse/fixtures'

// A bug that can be called: nothing of Écluse's own can be made to throw where nobody catches.
const BUGS = `
process.on('SIGUSR2', () => { throw new TypeError('a bug') })
process.on('SIGWINCH', () => { Promise.reject(new TypeError('a bug')) })
`
const GOODBYE = '421 4.3.2 Service shutting down, closing channel'

let sink: SmtpSink
let ecluse: EcluseService
let client: LmtpClient

beforeEach(async () => {
  sink = await startSmtpSink()
  ecluse = await startEcluse({
    yaml: 'localDomains: [example.org]\nscanners: [{ kind: test }]\nlimits: { drain: 20s }',
    reinjectPort: sink.port,
    preload: BUGS,
  })
  client = await connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
  await client.reply()
  await client.ask('LHLO postfix.example.org')
})

afterEach(async () => {
  client.destroy()
  await ecluse.close()
  await sink.close()
})

async function inData(): Promise<void> {
  for (const line of ['MAIL FROM:<a@example.net>', 'RCPT TO:<b@example.org>', 'DATA']) await client.ask(line)
}

const crashes = (): unknown[] =>
  ecluse.log().filter(({ msg }) => msg?.startsWith('internal error that nobody caught'))

async function internalErrors(): Promise<string | undefined> {
  return /^ecluse_internal_errors_total (\d+)$/m.exec((await ecluse.get('/metrics')).body)?.[1]
}

describe('an error that nobody caught', () => {
  test.each(['SIGUSR2', 'SIGWINCH'] as const)(
    'ends the process in order, with exit code 1: %s',
    async (signal) => {
      const idle = await connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
      await idle.reply()
      await inData()
      process.kill(ecluse.pid, signal)
      expect(await idle.replies(2)).toEqual([GOODBYE, ''])
      expect(await internalErrors()).toBe('1')
      await expect(connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })).rejects.toMatchObject({
        code: 'ECONNREFUSED',
      })
      // What had begun comes to its end.
      client.send('Subject: x\r\n\r\nx\r\n.\r\n')
      expect(await client.reply()).toMatch(/^250 2\.0\.0 from MTA/)
      expect(await client.replies(2)).toEqual([GOODBYE, ''])
      expect(await ecluse.exited).toBe(1)
      expect(crashes()).toMatchObject([{ level: 'error', err: { message: 'a bug' } }])
      expect(ecluse.log().at(-1)).toMatchObject({ msg: 'stopped' })
      await sink.waitFor(1)
    },
  )

  test('ends it at once when there is a second one', async () => {
    const idle = await connectLmtp({ host: '127.0.0.1', port: ecluse.lmtpPort })
    await idle.reply()
    await inData()
    process.kill(ecluse.pid, 'SIGUSR2')
    await idle.replies(2)
    process.kill(ecluse.pid, 'SIGUSR2')
    expect(await client.reply()).toBe('')
    expect(await ecluse.exited).toBe(1)
    expect(crashes()).toHaveLength(2)
    expect(sink.messages).toEqual([])
  })
})
