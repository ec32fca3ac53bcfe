import { mkdir, rm, writeFile } from 'node:fs/promises'
import { afterEach, expect, test } from '@jest/globals'
import { releaseAll, startTestDaemon, until } from './daemon.testkit.ts'

afterEach(releaseAll)

test.each([
  ['spool', 'E_SPOOL'],
  ['quarantine', 'E_QUARANTINE'],
] as const)(
  'is not ready while the %s cannot be written, and ready again after that',
  async (which, code) => {
    const { daemon, ...folders } = await startTestDaemon({ versionIntervalMs: 20 })
    const folder = folders[`${which}Folder`]
    expect(daemon.notReady()).toEqual([])
    await rm(folder, { recursive: true })
    // Also for root: no folder, and none can be made there.
    await writeFile(folder, '')
    await until(() => daemon.notReady().length > 0)
    expect(daemon.notReady()).toEqual([expect.stringMatching(`^folders: ${code}: ${folder}`)])
    await rm(folder)
    await mkdir(folder)
    await until(() => daemon.notReady().length === 0)
  },
)
