/**
 * Looks for inputs that break what reads hostile bytes.
 *
 *   node scripts/fuzz.js TARGET…|all [--seconds N] [--seed S] [--jobs N] [--out FILE] [--replay FILE]…
 *
 *   --seconds  for each target (60)               --seed    the same numbers again; absent: another each time
 *   --jobs     targets at the same time (1)       --out     the figures go there too, as Markdown
 *   --replay   read these inputs and nothing else
 *
 * Findings are kept in fixtures/fuzz/TARGET/found-…, where `npm test` runs them too. Exit code 1 when there was one, 2
 * for wrong usage.
 */
import { register } from 'node:module'

register('./fuzz/sources.js', import.meta.url)
const { fuzz, UsageError } = await import('../fixtures/src/fuzz/main.ts')

// So that the workers end with this process: an `exit` handler kills them.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

try {
  if ((await fuzz(process.argv.slice(2))) > 0) process.exitCode = 1
} catch (error) {
  const usage = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS')
  if (!usage) throw error
  process.stderr.write(`fuzz: ${error.message}\n`)
  process.exitCode = 2
}
