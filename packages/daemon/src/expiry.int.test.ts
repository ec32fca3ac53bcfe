import { readdir } from 'node:fs/promises'
import { afterEach, expect, test } from '@jest/globals'
import { EICAR } from '@ecluse/fixtures'
import { releaseAll, sendMail, startTestDaemon, until, type TestDaemon } from './daemon.testkit.ts'

afterEach(releaseAll)

const VIRUS = `Subject: virus\r\n\r\n${EICAR}\r\n`

async function kept({ quarantineFolder }: TestDaemon): Promise<string[]> {
  return (await readdir(quarantineFolder, { recursive: true })).filter((name) => name.endsWith('.eml'))
}

async function receive(kit: TestDaemon): Promise<void> {
  const { dot } = await sendMail(await kit.greet(), { to: ['r@example.org'], content: VIRUS })
  expect(dot[0]).toMatch(/^250 /)
}

test('deletes what is too old while mail runs, and says so', async () => {
  const kit = await startTestDaemon({ expiry: { retention: { keepMs: { virus: 0 } }, intervalMs: 10 } })
  for (let count = 0; count < 3; count++) await receive(kit)
  await until(async () => (await kept(kit)).length === 0)
  await until(() => kit.lines.some(({ msg }) => msg === 'quarantine: expired mail deleted'))
  expect(await kept(kit)).toEqual([])
})

test('deletes what is too much', async () => {
  const kit = await startTestDaemon({ expiry: { retention: { keepMs: {}, maxBytes: 1 }, intervalMs: 10 } })
  await receive(kit)
  await until(async () => (await kept(kit)).length === 0)
  expect(await kept(kit)).toEqual([])
})

test('deletes nothing of another category', async () => {
  const kit = await startTestDaemon({
    expiry: { retention: { keepMs: { spam: 0 } }, intervalMs: 5 },
  })
  await receive(kit)
  const spam = 'Subject: s\r\n\r\nECLUSE-TEST-SCORE=50\r\n'
  await sendMail(await kit.greet(), { to: ['r@example.org'], content: spam })
  await until(async () => (await kept(kit)).every((name) => name.includes('virus-')))
  expect(await kept(kit)).toHaveLength(1)
})
