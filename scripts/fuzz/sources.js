/**
 * Loads the TypeScript sources themselves, and counts in those of `packages/` which branches run: `countBranches` puts
 * the counters in. A hook of Node's module loader; `branchCounts` of fixtures/src/fuzz/branches.ts is what they count in.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { transform } from '@swc/core'
import { countBranches } from './countBranches.js'

const packages = new URL('../../packages/', import.meta.url).href
let counters = 0

/** Packages of the workspace resolve to their sources. */
export async function resolve(specifier, context, next) {
  return await next(specifier, { ...context, conditions: ['source', ...context.conditions] })
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !new URL(url).pathname.endsWith('.ts')) return await next(url, context)
  let text = await readFile(fileURLToPath(url), 'utf8')
  if (url.startsWith(packages)) {
    const counted = await countBranches(text, counters)
    text = counted.text
    counters = counted.next
  }
  const { code } = await transform(text, {
    filename: fileURLToPath(url),
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
    sourceMaps: 'inline',
  })
  return { format: 'module', source: code, shortCircuit: true }
}
