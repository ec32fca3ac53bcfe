import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from '@jest/globals'
import { storeSuite } from '../test/storeSuite.ts'
import { createFileStore } from './fileStore.ts'

let directory = ''

describe('files', () => {
  storeSuite({
    async setUp() {
      directory = await mkdtemp(join(tmpdir(), 'ecluse-quarantine-'))
    },
    open: () => createFileStore(directory),
    async tearDown() {
      await rm(directory, { recursive: true, force: true })
    },
  })
})
