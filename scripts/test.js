/**
 * Runs all tests: first the unit and integration tests, in parallel, then the end-to-end tests, one at a time, against
 * the built dist and real daemons. The last line is `N passed, N failed, N skipped` over both.
 *
 *   node scripts/test.js [PATTERN or Jest option]…      a pattern picks test files by their path
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const passedOn = process.argv.slice(2)
const runs = [
  { name: 'unit', options: [] },
  { name: 'e2e', options: ['--config', 'jest.e2e.config.js', '--runInBand'] },
]

/** Resolves with Jest's exit code; a killed Jest counts as 1. */
function jest(options, countsFile) {
  const args = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning']
  args.push('node_modules/jest/bin/jest.js', '--passWithNoTests', ...options, ...passedOn)
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ECLUSE_TEST_COUNTS: countsFile },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const passSignal = (signal) => child.kill(signal)
  process.on('SIGTERM', passSignal)
  process.on('SIGINT', passSignal)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => {
      process.off('SIGTERM', passSignal)
      process.off('SIGINT', passSignal)
      resolve(code ?? 1)
    })
  })
}

function readCounts(name, file, code) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    // Jest ended before its reporters: an unknown number of tests did not run, so this is never a success.
    process.stderr.write(`test: the ${name} tests ended without a result, exit code ${code}\n`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
}

const folder = mkdtempSync(join(tmpdir(), 'ecluse-test-'))
const total = { passed: 0, failed: 0, skipped: 0 }
try {
  for (const { name, options } of runs) {
    const countsFile = join(folder, `${name}.json`)
    const code = await jest(options, countsFile)
    const counts = readCounts(name, countsFile, code)
    for (const key of Object.keys(total)) total[key] += counts[key]
    // Jest can fail for other reasons than a test (a threshold, a leak check).
    if (code !== 0 || counts.failed > 0) process.exitCode ||= code || 1
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
if (total.passed + total.failed + total.skipped === 0) {
  process.stderr.write(`test: no test found for ${passedOn.join(' ') || 'this tree'}\n`)
  process.exitCode = 1
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`)
