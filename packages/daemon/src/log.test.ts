import { expect, test } from '@jest/globals'
import { createLog } from './logOutput.ts'

test.each(['json', 'text'] as const)('the level of a %s log can be chosen anew', (format) => {
  const lines: string[] = []
  const log = createLog('info', format, { write: (line) => void lines.push(line) })
  const speak = (): string[] => {
    for (const level of ['debug', 'info', 'warn', 'error'] as const) log[level]({}, `at ${level}`)
    return lines.splice(0).flatMap((line) => /at (\w+)/.exec(line)?.[1] ?? [])
  }
  expect(speak()).toEqual(['info', 'warn', 'error'])
  log.setLevel('debug')
  expect(speak()).toEqual(['debug', 'info', 'warn', 'error'])
  log.setLevel('error')
  expect(speak()).toEqual(['error'])
})
