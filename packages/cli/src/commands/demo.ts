import { resolve } from 'node:path'
import type { Command } from '../command.ts'
import { startDemo } from '../demo/demo.ts'

/** `demo`. */
export const demo: Command = {
  name: 'demo',
  usage: '[--once] [--directory DIR]',
  summary:
    'Runs the filter with the scanners found here, sends sample messages and shows what became of them.',
  options: {
    once: { type: 'boolean', doc: 'End after the table; exit code 1 if a row is not as expected.' },
    directory: { type: 'string', doc: 'Where its mail, quarantine and spool are; absent: var.' },
  },
  async run({ options }, around) {
    const directory = resolve(typeof options['directory'] === 'string' ? options['directory'] : 'var')
    const running = await startDemo({ directory, write: around.out })
    try {
      const asExpected = await running.sendSamples()
      if (!asExpected) around.complain('demo: a row is not as expected (see the table)')
      if (options['once'] === true) return asExpected ? 0 : 1
      around.out('\nStill listening: send it a message of your own, or press Ctrl-C.\n')
      await interrupted()
      return 0
    } finally {
      await running.close()
    }
  },
}

function interrupted(): Promise<void> {
  return new Promise((done) => {
    process.once('SIGINT', () => done())
    process.once('SIGTERM', () => done())
  })
}
