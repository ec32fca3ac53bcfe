import { execFile } from 'node:child_process'
import { readPostfixConfig, type PostfixConfig } from './postfixConfig.ts'

/** What came of asking postconf(1). */
export type PostconfAnswer =
  | {
      readonly postfix: PostfixConfig
      /** What it warned of: unknown and doubled parameters. Without repetitions, at most a few. */
      readonly warnings: readonly string[]
    }
  /** There is no postconf on this machine. */
  | { readonly missing: true }
  /** Its own words. */
  | { readonly failure: string }

/** How to find Postfix. */
export interface PostconfOptions {
  /** The folder of main.cf; absent: the one that Postfix uses itself. */
  readonly directory?: string
  /** Where its programs are looked for, in order; at least one. */
  readonly folders: readonly string[]
}

const TIMEOUT_MS = 10_000
/** A main.cf with all its defaults is 40 KB. */
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024
const MAX_WARNINGS = 5

/** The folders of PATH, and those of administrators' programs, which a user's PATH lacks. */
export function programFolders(path = ''): string[] {
  return [...path.split(':').filter((folder) => folder !== ''), '/usr/sbin', '/usr/local/sbin']
}

/** Asks postconf(1) for all that main.cf and master.cf come to. Never rejects. */
export async function askPostconf(options: PostconfOptions): Promise<PostconfAnswer> {
  const asked = await Promise.all(
    [[], ['-x'], ['-M'], ['-xP']].map((mode) => runPostfix('postconf', mode, options)),
  )
  if (asked.some(({ code }) => code === 'ENOENT')) return { missing: true }
  const failed = asked.find(({ code }) => code !== 0)
  if (failed) return { failure: failed.stderr.trim().split('\n').at(-1) || `postconf: ${failed.code}` }
  const [raw = '', expanded = '', services = '', overrides = ''] = asked.map(({ stdout }) => stdout)
  const warnings = asked.flatMap(({ stderr }) =>
    stderr.split('\n').filter((line) => line.includes('warning:')),
  )
  return {
    postfix: readPostfixConfig({ raw, expanded, services, overrides }),
    warnings: [...new Set(warnings)].slice(0, MAX_WARNINGS),
  }
}

/** What a program of Postfix did. */
export interface PostfixRun {
  /** Exit code, or the code of the error that kept it from running. */
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program of Postfix, without a shell, with bounded time and output. Never rejects.
 *
 * @param input what it reads; absent: nothing
 */
export function runPostfix(
  program: string,
  args: readonly string[],
  { directory, folders, input = '' }: PostconfOptions & { readonly input?: string },
): Promise<PostfixRun> {
  const all = directory === undefined ? args : ['-c', directory, ...args]
  const options = {
    env: { PATH: folders.join(':'), LC_ALL: 'C' },
    timeout: TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_BYTES,
  }
  return new Promise((resolve) => {
    const child = execFile(program, all, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.code ?? error.signal ?? 'failed')
      resolve({ code, stdout, stderr })
    })
    // It may end without reading: its exit code says more than a broken pipe.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
