export { SCANNER_KINDS } from './kinds.ts'
export { scanAll } from './runner.ts'
export { queued } from './queue.ts'
