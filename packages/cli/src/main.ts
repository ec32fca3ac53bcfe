import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { SCANNER_KINDS } from '@ecluse/scanners'
import type { ListedCommand } from './command.ts'
import { runCommand } from './run.ts'

/**
 * Every command, in the order in which help lists them. A new one is one file and one line. Each is loaded when it is run:
 * what serve needs takes longer to load than another one takes altogether.
 */
const COMMANDS: readonly ListedCommand[] = [
  { name: 'serve', load: async () => (await import('./commands/serve.ts')).serve },
  { name: 'check', load: async () => (await import('./commands/check.ts')).check },
  { name: 'doctor', load: async () => (await import('./commands/doctor.ts')).doctor },
  { name: 'explain', load: async () => (await import('./commands/explain.ts')).explain },
  { name: 'quarantine', load: async () => (await import('./commands/quarantine.ts')).quarantine },
  { name: 'cache', load: async () => (await import('./commands/cache.ts')).cache },
  { name: 'postfix', load: async () => (await import('./commands/postfix.ts')).postfix },
  { name: 'scanners', load: async () => (await import('./commands/scanners.ts')).scanners },
  { name: 'demo', load: async () => (await import('./commands/demo.ts')).demo },
  { name: 'version', load: async () => (await import('./commands/version.ts')).version },
  { name: 'help', load: async () => (await import('./commands/help.ts')).help },
  { name: 'start', hidden: true, load: async () => (await import('./commands/start.ts')).start },
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
