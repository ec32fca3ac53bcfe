export { openConsole, type Console, type ConsoleOptions } from './console.ts'
export type { ConsoleLog } from './desk.ts'
export { releaseLink } from './releaseLink.ts'
