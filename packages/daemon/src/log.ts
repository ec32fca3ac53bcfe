import type { MessageRecord } from './record.ts'

/** The least urgent last: a level lets through those before it too. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
/** What a line tells beside its message. `err` is written as {@link describeError} has it. */
export type LogFields = Readonly<Record<string, unknown>>

/** The log on stderr. Text from the network goes in fields, never in `message`: fields are escaped. */
export interface Log {
  error(fields: LogFields, message: string): void
  warn(fields: LogFields, message: string): void
  info(fields: LogFields, message: string): void
  debug(fields: LogFields, message: string): void
  /** The one line of a message. */
  message(record: MessageRecord): void
}

/** A log whose least important lines can be chosen anew while it is written. */
export interface LevelledLog extends Log {
  setLevel(level: LogLevel): void
}

/** Where lines go: whole lines with their newline. */
export interface LogTarget {
  write(line: string): void
}

/** What a log line tells of an error: message, code and causes; the stack only of what was not foreseen. */
export function describeError(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return error
  const { message, code, cause, stack } = error as Partial<Error> & { code?: unknown }
  const foreseen = typeof code === 'string'
  return {
    message,
    ...(foreseen ? { code } : { stack }),
    ...(cause !== undefined && { cause: describeError(cause) }),
  }
}
