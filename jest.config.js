/** @type {import('jest').Config} */
export default {
  // Only against a hang: a busy machine must not fail what is right.
  testTimeout: 60_000,
  testEnvironment: 'node',
  // Workspace packages resolve to their TypeScript source. Never add 'import' here: Jest adds it where it applies.
  testEnvironmentOptions: { customExportConditions: ['source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  modulePathIgnorePatterns: ['/dist/'],
  testMatch: ['**/*.test.ts'],
  testPathIgnorePatterns: ['\\.e2e\\.test\\.ts$', '/node_modules/'],
  reporters: ['default', '<rootDir>/scripts/plain-reporter.js'],
}
