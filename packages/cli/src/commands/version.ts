import type { Command } from '../command.ts'

/** `version`. */
export const version: Command = {
  name: 'version',
  usage: '',
  summary: 'Prints the versions of Écluse and Node.js.',
  options: {},
  async run(_, { version: ours, out }) {
    out(`ecluse ${ours}, Node.js ${process.version}\n`)
    return 0
  },
}
