import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import path from 'node:path'
import { FilterError, rewriteInput, type ConfigSchema, type KeyPath } from '@ecluse/core'

const MAX_SECRET_BYTES = 64 * 1024

/** A secret that could not be had. */
export interface SecretFailure {
  readonly path: KeyPath
  readonly error: FilterError
}

/** Where secrets come from. */
export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Folder that relative paths start from: that of the configuration file. */
  readonly directory: string
}

/**
 * Puts the values of `${ENV_NAME}` and `file:PATH` into the keys that are secrets, and there only. Of a file, the
 * final line end is left off.
 */
export function expandSecrets(
  schema: ConfigSchema,
  input: unknown,
  sources: SecretSources,
): { readonly value: unknown; readonly failures: readonly SecretFailure[] } {
  const failures: SecretFailure[] = []
  const value = rewriteInput(schema, input, {
    secret: (text, keyPath) => {
      try {
        return expand(text, sources)
      } catch (error) {
        if (!(error instanceof FilterError)) throw error
        failures.push({ path: keyPath, error })
        return text
      }
    },
  })
  return { value, failures }
}

/** What stands for a secret where it is shown; one that only says where the secret is may be seen. */
export function maskSecret(text: string): string {
  if (/^(?:file:.*|\$\{\w+\})$/.test(text)) return text
  const scheme = /^[a-z]+:\/\//.exec(text)?.[0] ?? ''
  return `${scheme}***`
}

function expand(text: string, { env, directory }: SecretSources): string {
  if (text === 'file:')
    throw new FilterError('E_CONFIG', 'expected file: and a path', { hint: 'write file:/PATH' })
  if (text.startsWith('file:')) return readSecret(path.resolve(directory, text.slice(5)))
  return text.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    // What stands in the braces may itself be secret, as in ${NAME:-default}.
    if (!/^[A-Za-z_]\w{0,99}$/.test(name)) {
      throw new FilterError('E_CONFIG', 'expected ${NAME}', {
        hint: 'a name is of letters, digits and underscores, and has no default',
      })
    }
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if (value !== undefined && value !== '') return value
    throw new FilterError('E_CONFIG', `the environment has no ${name}`, {
      hint: 'set it, or use file:PATH',
    })
  })
}

function readSecret(file: string): string {
  try {
    // Without O_NONBLOCK, a named pipe would be waited for, by all mail when this is a reload.
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      if (!fstatSync(descriptor).isFile())
        throw new FilterError('E_CONFIG', `${file} is not a file`, { hint: 'name the file in it' })
      const buffer = Buffer.alloc(MAX_SECRET_BYTES + 1)
      const length = readSync(descriptor, buffer)
      if (length > MAX_SECRET_BYTES) throw new FilterError('E_CONFIG', `${file} is larger than 64KiB`)
      return buffer.toString('utf8', 0, length).replace(/\r?\n$/, '')
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    if (cause instanceof FilterError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'does not exist' : `cannot be read: ${code ?? 'unknown error'}`
    throw new FilterError('E_CONFIG', `${file} ${reason}`, {
      cause,
      hint: 'the secret is read from this file',
    })
  }
}
