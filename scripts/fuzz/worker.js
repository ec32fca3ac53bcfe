/** A process that searches one target: fixtures/src/fuzz/worker.ts, from the sources. */
import { register } from 'node:module'

register('./sources.js', import.meta.url)
await import('../../fixtures/src/fuzz/worker.ts')
