import path from 'node:path'
import {
  compileRules,
  configSchema,
  FilterError,
  listFileErrors,
  listFilesOf,
  rewriteInput,
  type Config,
  type ConfigSchema,
  type ErrorPlace,
  type ListFiles,
  type Rules,
  type ScannerKind,
} from '@ecluse/core'
import { stringify } from 'yaml'
import { errorAt, explainIssues, inFileOrder, located, parsePath, valueAt } from './configErrors.ts'
import { configWarnings } from './configWarnings.ts'
import { readLists, type ListFailure } from './listFiles.ts'
import { expandSecrets, maskSecret } from './secrets.ts'
import { readYamlFile, type YamlFile } from './yamlFile.ts'

/** What the machine gives to a configuration. */
export interface ConfigSources {
  readonly kinds: readonly ScannerKind[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Default of `hostname`: the system's name. */
  readonly hostname: string
}

/** A configuration that can be used. */
export interface LoadedConfig {
  /** Frozen, with all that is in it. */
  readonly config: Config
  readonly rules: Rules
  /** Absolute paths of the files that its lists are in, each once. */
  readonly listFiles: readonly string[]
  /** Reads these files again, for the same configuration. @throws FilterError E_CONFIG with its place */
  rereadLists(): Promise<Rules>
  /** Where the value at a path such as `policies[2].when` stands in the file; absent: it is a default. */
  placeOf(path: string): ErrorPlace | undefined
  /** What an administrator would want to know, in the order of the file; looked for when asked, once. Empty: nothing. */
  readonly warnings: readonly FilterError[]
  /** The file with every default filled in, as YAML; without secrets. */
  effectiveYaml(): string
}

/** A configuration that cannot be used. */
export interface RefusedConfig {
  /** At least one, in the order of the file; code E_CONFIG, each with its place. */
  readonly errors: readonly FilterError[]
}

/** Reads, checks and freezes a configuration file. Never rejects for what is in the file, or for its absence. */
export async function loadConfig(
  file: string,
  sources: ConfigSources,
): Promise<LoadedConfig | RefusedConfig> {
  try {
    const yaml = await readYamlFile(file)
    return 'errors' in yaml ? yaml : await checkConfig(file, yaml, sources)
  } catch (error) {
    if (error instanceof FilterError && error.code === 'E_CONFIG') return { errors: [error] }
    throw error
  }
}

async function checkConfig(
  file: string,
  yaml: YamlFile,
  sources: ConfigSources,
): Promise<LoadedConfig | RefusedConfig> {
  const schema = configSchema(sources.kinds, sources.hostname)
  // An empty file is a file without keys.
  const input = yaml.value ?? {}
  const directory = path.dirname(path.resolve(file))
  const { value, failures } = expandSecrets(schema, input, { env: sources.env, directory })
  const result = schema.safeParse(value)
  const lost = new Set(failures.map((failure) => JSON.stringify(failure.path)))
  const issues = result.error?.issues.filter((issue) => !lost.has(JSON.stringify(issue.path))) ?? []
  const errors = inFileOrder([
    ...failures.map(({ path: key, error: { message, hint } }) =>
      errorAt(key, message, { place: yaml.valuePlace(key), hint }),
    ),
    ...explainIssues(issues, schema, { ...yaml, value: input }),
  ])
  if (errors.length > 0 || !result.success) return { errors }
  const config: Config = deepFreeze(result.data)
  const lists = await readLists(listFilesOf(config), directory)
  if (lists.failures.length > 0) return { errors: listErrors(lists.failures, yaml) }
  const compiled = tryCompile(config, lists.files, yaml)
  if ('errors' in compiled) return compiled
  let found: readonly FilterError[] | undefined
  return {
    config,
    rules: compiled.rules,
    listFiles: lists.paths,
    placeOf(path) {
      const keys = parsePath(path)
      return valueAt(input, keys) === undefined ? undefined : yaml.valuePlace(keys)
    },
    rereadLists: async () => await rereadLists(config, directory),
    get warnings() {
      found ??= configWarnings({ config, kinds: sources.kinds, files: lists.files }, yaml)
      return found
    },
    effectiveYaml: () => effectiveYaml(schema, input),
  }
}

/** What the schema cannot see: entries of files, and all regular expressions together. */
function tryCompile(config: Config, files: ListFiles, yaml: YamlFile): { rules: Rules } | RefusedConfig {
  try {
    return { rules: compileRules(config, files) }
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    const ofEntries = listFileErrors(config, files)
    return { errors: ofEntries.length > 0 ? ofEntries : [located(error, yaml)] }
  }
}

/** What is wrong with a file as a whole is told where the configuration names it; then, what is wrong inside. */
function listErrors(failures: readonly ListFailure[], yaml: YamlFile): FilterError[] {
  const whole = failures.flatMap(({ error: { message, hint, place = {} }, path: key }) => {
    if (place.line !== undefined) return []
    return [errorAt(key, `${place.file}: ${message}`, { place: yaml.valuePlace(key), hint })]
  })
  const inside = failures.flatMap(({ error }) => (error.place?.line === undefined ? [] : [error]))
  return [...inFileOrder(whole), ...inside]
}

async function rereadLists(config: Config, directory: string): Promise<Rules> {
  const { files, failures } = await readLists(listFilesOf(config), directory)
  if (failures[0]) throw failures[0].error
  return compileRules(config, files)
}

function effectiveYaml(schema: ConfigSchema, input: unknown): string {
  const filled = rewriteInput(schema, input, { defaults: true, secret: maskSecret })
  return stringify(filled, { lineWidth: 110 })
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  Object.freeze(value)
  Object.values(value).forEach(deepFreeze)
  return value
}
