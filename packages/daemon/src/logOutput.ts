import pino from 'pino'
import type { LevelledLog, LogLevel, LogTarget } from './log.ts'
import { jsonLog } from './logJson.ts'
import { textLog } from './logText.ts'

/** Synchronous writes to stderr: a line is out before the reply that it tells of. */
export function stderrTarget(): LogTarget {
  return pino.destination({ fd: 2, sync: true })
}

/** A log of JSON objects, or of lines in amavisd's form, from `level` on. */
export function createLog(level: LogLevel, format: 'json' | 'text', target: LogTarget): LevelledLog {
  return format === 'json' ? jsonLog(level, target) : textLog(level, target)
}
