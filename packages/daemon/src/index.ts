export * from './daemon.ts'
export { createLog, stderrTarget } from './logOutput.ts'
export type { Log, LogLevel, LogTarget } from './log.ts'
export type { MessageRecord } from './record.ts'
