import { writeFileSync } from 'node:fs'

/**
 * Jest reporter: ends the run with the one line that CI counts tests by, or, where ECLUSE_TEST_COUNTS names a file,
 * writes the counts there as JSON for scripts/test.js, which adds up several runs.
 */
export default class PlainReporter {
  onRunComplete(_contexts, results) {
    const counts = {
      passed: results.numPassedTests,
      // A file that does not even load has no failed test: without it a broken file would read as "0 failed".
      failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
      skipped: results.numPendingTests + results.numTodoTests,
    }
    const file = process.env.ECLUSE_TEST_COUNTS
    if (file !== undefined) writeFileSync(file, JSON.stringify(counts))
    else process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
  }
}
