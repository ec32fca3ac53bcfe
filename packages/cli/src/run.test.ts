import { expect, test } from '@jest/globals'
import { FilterError } from '@ecluse/core'
import { SAMPLE_KINDS } from '../test/sampleKinds.ts'
import type { Command } from './command.ts'
import { check } from './commands/check.ts'
import { help } from './commands/help.ts'
import { scanners } from './commands/scanners.ts'
import { start } from './commands/start.ts'
import { version } from './commands/version.ts'
import { runCommand } from './run.ts'

function command(name: string, run: Command['run']): Command {
  return { name, usage: '', summary: `Does ${name}.`, options: {}, run }
}

const fails = command('fails', async () => {
  throw new FilterError('E_LISTEN', '127.0.0.1:10024: in use', { hint: 'stop the other one' })
})
const breaks = command('breaks', async () => {
  throw new TypeError('odd \u001b[31m thing')
})
const demo: Command = {
  ...command('demo', async () => 0),
  options: { once: { type: 'boolean', doc: 'Once.' } },
}

async function run(...argv: string[]): Promise<{ code: number; out: string; lines: string[] }> {
  let out = ''
  const lines: string[] = []
  const code = await runCommand(argv, {
    kinds: SAMPLE_KINDS,
    env: {},
    hostname: 'mail.example.org',
    version: '1.2.3',
    commands: [check, scanners, version, help, start, fails, breaks, demo],
    out: (text) => void (out += text),
    complain: (line) => void lines.push(line),
  })
  return { code, out, lines }
}

test.each([
  [[], 'no command given (see ecluse help)'],
  [['-x'], 'no command given (see ecluse help)'],
  [['chek'], 'no command "chek" (did you mean "check"?)'],
  [['frobnicate'], 'no command "frobnicate" (see ecluse help)'],
  [['\u001b[31m'], 'no command "\\x1b[31m" (see ecluse help)'],
  [['check'], '--config is missing (name the file: --config /etc/ecluse/ecluse.yaml)'],
  [['check', '--config='], '--config is missing (name the file: --config /etc/ecluse/ecluse.yaml)'],
  [
    ['check', '--config'],
    'check: --config needs a value (usage: ecluse check --config FILE [--print] [--postfix DIR])',
  ],
  [['check', '--confg', 'x'], 'check: no option --confg (did you mean "--config"?)'],
  [
    ['check', '--zzzzzz'],
    'check: no option --zzzzzz (usage: ecluse check --config FILE [--print] [--postfix DIR])',
  ],
  [['check', '-c', 'x'], 'check: no option -c (usage: ecluse check --config FILE [--print] [--postfix DIR])'],
  [
    ['check', '--print=x'],
    'check: --print takes no value (usage: ecluse check --config FILE [--print] [--postfix DIR])',
  ],
  [
    ['check', 'a.yaml'],
    'check: "a.yaml" is one argument too many (usage: ecluse check --config FILE [--print] [--postfix DIR])',
  ],
  [['help', 'me'], 'no command "me" (see ecluse help)'],
  [['start', '--config', 'x'], 'start: serve is not available in this version'],
])('%j is wrong usage', async (argv, line) => {
  expect(await run(...argv)).toEqual({ code: 2, out: '', lines: [line] })
})

test('a failure is one line and exit code 1', async () => {
  expect(await run('fails')).toEqual({
    code: 1,
    out: '',
    lines: ['127.0.0.1:10024: in use (stop the other one)'],
  })
})

test('an error of ours is one line, without control characters', async () => {
  const { code, lines } = await run('breaks')
  expect(code).toBe(1)
  expect(lines).toEqual(['internal error: odd \\x1b[31m thing (run it again with --debug and report it)'])
})

test('with --debug the stack follows', async () => {
  const { lines } = await run('fails', '--debug')
  expect(lines).toHaveLength(2)
  expect(lines[1]).toContain('at ')
})

test.each([['--version'], ['version']])('%s prints the versions', async (word) => {
  expect(await run(word)).toEqual({ code: 0, out: `ecluse 1.2.3, Node.js ${process.version}\n`, lines: [] })
})

test.each([['--help'], ['-h'], ['help']])('%s lists what is not hidden', async (word) => {
  const { code, out } = await run(word)
  expect(code).toBe(0)
  expect(out).toContain('  check  ')
  expect(out).not.toContain('  start  ')
})

test.each([
  ['check', '--help'],
  ['help', 'check'],
])('%s %s tells about one command', async (...argv) => {
  const { code, out } = await run(...argv)
  expect(code).toBe(0)
  expect(out).toContain('usage: ecluse check --config FILE [--print]')
  expect(out).toContain('--print ')
})

test('start without a configuration is demo', async () => {
  expect((await run('start', '--once')).code).toBe(0)
})

test('scanners lists kinds with options, defaults and sentences', async () => {
  const { out } = await run('scanners')
  expect(out).toContain(`kind: spamd
  SpamAssassin by its daemon.
  Remembered by content, recipients: see cache.
    name               name; default spamd
                       Its name in log and metrics, unlike the others.
    timeout            duration 100ms–590s; default 30s
`)
  expect(out).toContain(`kind: test
  Finds EICAR, GTUBE and ECLUSE-TEST-SCORE.
  Not remembered.
`)
  expect(out).toContain('    maxSize            size 1KiB–2GiB; optional\n')
  expect(out).toContain('    password           secret; optional\n')
})
