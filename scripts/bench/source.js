/** The beginning of the line: Postfix's smtp-source, which speaks LMTP too, one command after the other. */
import { BenchError, ended, lastLine, program, start } from './processes.js'

/**
 * Sends `count` messages and resolves with the seconds that it took. `keep`: messages follow each other on one
 * connection for each session; otherwise each has its own.
 *
 * @throws BenchError when one is refused
 */
export async function runSource({ port, protocol, sessions, keep, sizeBytes, logFile }, count) {
  const options = ['-s', `${sessions}`, '-m', `${count}`, '-l', `${sizeBytes}`]
  if (protocol === 'lmtp') options.push('-L')
  if (keep) options.push('-d')
  const addresses = ['-f', 'sender@example.com', '-t', 'recipient@example.org']
  const started = performance.now()
  const child = start(program('smtp-source', 'postfix'), [...options, ...addresses, `127.0.0.1:${port}`], {
    logFile,
  })
  const code = await ended(child)
  const seconds = (performance.now() - started) / 1000
  if (code !== 0) throw new BenchError(`smtp-source: ${code}: ${lastLine(logFile)}`)
  return { seconds }
}
