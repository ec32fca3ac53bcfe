import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { SCANNER_KINDS } from '@ecluse/scanners'
import type { Command } from './command.ts'
import { cache } from './commands/cache.ts'
import { check } from './commands/check.ts'
import { demo } from './commands/demo.ts'
import { doctor } from './commands/doctor.ts'
import { explain } from './commands/explain.ts'
import { help } from './commands/help.ts'
import { postfix } from './commands/postfix.ts'
import { quarantine } from './commands/quarantine.ts'
import { scanners } from './commands/scanners.ts'
import { serve } from './commands/serve.ts'
import { start } from './commands/start.ts'
import { version } from './commands/version.ts'
import { runCommand } from './run.ts'

/** Every command, in the order in which help lists them. A new one is one file and one line. */
const COMMANDS: readonly Command[] = [
  serve,
  check,
  doctor,
  explain,
  quarantine,
  cache,
  postfix,
  scanners,
  demo,
  version,
  help,
  start,
]

const { version: ownVersion } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { readonly version: string }

// The reader of a pipe may go away before the end, as head does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

// Not process.exit: what was written to a pipe may still be on its way.
process.exitCode = await runCommand(process.argv.slice(2), {
  kinds: SCANNER_KINDS,
  env: process.env,
  hostname: hostname(),
  version: ownVersion,
  commands: COMMANDS,
  out: (text) => void process.stdout.write(text),
  complain: (line) => void process.stderr.write(`ecluse: ${line}\n`),
})
