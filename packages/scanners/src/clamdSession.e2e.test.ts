import { afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { EICAR, describeWith, startClamd, testMessage, type ClamdService } from '@ecluse/fixtures'
import { request } from '../test/sample.ts'
import { clamd } from './clamd.ts'
import { ClamdSessions, instream } from './clamdSession.ts'

const NEVER = new AbortController().signal
const releases: (() => unknown)[] = []
afterEach(async () => {
  for (const release of releases.splice(0).toReversed()) await release()
})

async function start(extraConfiguration = ''): Promise<{ service: ClamdService; sessions: ClamdSessions }> {
  const service = await startClamd({ extraConfiguration })
  releases.push(() => service.close())
  const sessions = new ClamdSessions({ path: service.socketPath })
  releases.push(() => sessions.close())
  return { service, sessions }
}

const scan = async (sessions: ClamdSessions, text: string): Promise<string | undefined> =>
  await sessions.ask(instream(Buffer.from(text)), NEVER)

describeWith({ describe, beforeAll }, 'clamd')('a session with clamd', () => {
  test('gives the verdict of each message, and of a new database as soon as it is there', async () => {
    const { service, sessions } = await start()
    expect(await scan(sessions, 'gondola')).toBe('stream: OK\0')
    expect(await scan(sessions, EICAR)).toMatch(/^stream: Eicar-Test.* FOUND\0$/)
    expect(await scan(sessions, '')).toBe('stream: OK\0')
    await service.addSignature('Test.Gondola', 'gondola')
    expect(await scan(sessions, 'gondola')).toBe('stream: Test.Gondola.UNOFFICIAL FOUND\0')
  })

  test('a message over its StreamMaxLength is too large, and the next one is looked at', async () => {
    const { service } = await start('StreamMaxLength 100K\n')
    const scanner = clamd.create('clamav', clamd.options.parse({ address: `unix:${service.socketPath}` }))
    releases.push(() => scanner.close?.())
    await scanner.version(NEVER)
    const large = testMessage(Buffer.alloc(200_000, 'filler\r\n'))
    for (let round = 0; round < 3; round++) {
      await expect(scanner.scan(request(large), NEVER)).resolves.toEqual({
        findings: [{ kind: 'unchecked', reason: 'too large' }],
      })
      await expect(scanner.scan(request(testMessage('ham')), NEVER)).resolves.toEqual({ findings: [] })
    }
  })
})
