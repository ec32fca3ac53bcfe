import base from './jest.config.js'

/** Against the built dist and real daemons: one at a time, long timeouts. */
export default {
  ...base,
  testMatch: ['**/*.e2e.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  passWithNoTests: true,
  maxWorkers: 1,
  testTimeout: 60_000,
}
