import path from 'node:path'
import {
  configSchema,
  FilterError,
  listFileErrors,
  listFilesOf,
  rewriteInput,
  rulesInSteps,
  type Config,
  type ConfigSchema,
  type ErrorPlace,
  type ListFiles,
  type NamedList,
  type Rules,
  type ScannerKind,
  type Steps,
} from '@ecluse/core'
import { inTurns } from '@ecluse/daemon/turns'
import { stringify } from 'yaml'
import { errorAt, explainIssues, inFileOrder, located, parsePath, valueAt } from './configErrors.ts'
import { configWarnings } from './configWarnings.ts'
import { readLists, type ListFailure, type ListFile, type NamedLists } from './listFiles.ts'
import { expandSecrets, maskSecret, type SecretSources } from './secrets.ts'
import { readYamlFile, type YamlFile } from './yamlFile.ts'

/** What the machine gives to a configuration. */
export interface ConfigSources {
  readonly kinds: readonly ScannerKind[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Default of `hostname`: the system's name. */
  readonly hostname: string
}

/** The rules of a configuration, with the files that its lists are in as they were read last. */
export interface LoadedRules {
  readonly rules: Rules
  /** Each once. */
  readonly listFiles: readonly ListFile[]
  /**
   * The same configuration with these files read again; those that it does not name are nothing to it.
   *
   * @throws FilterError E_CONFIG with its place, when one of them cannot be read or an entry cannot be used
   */
  readonly reread: (paths: ReadonlySet<string>) => Promise<LoadedRules>
}

/** A configuration that can be used. */
export interface LoadedConfig extends LoadedRules {
  /** Frozen, with all that is in it. */
  readonly config: Config
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
  const read = readValues(schema, { ...yaml, value: input }, { env: sources.env, directory })
  if ('errors' in read) return read
  const { config } = read
  await inTurns(freeze(config))
  const { files, failures } = await readLists(listFilesOf(config), directory)
  if (failures.length > 0) return { errors: listErrors(failures, yaml) }
  const entries = entriesOf(files)
  try {
    const rules = await loadedRules(config, files, directory)
    let found: readonly FilterError[] | undefined
    return {
      ...rules,
      config,
      placeOf(path) {
        const keys = parsePath(path)
        return valueAt(input, keys) === undefined ? undefined : yaml.valuePlace(keys)
      },
      get warnings() {
        found ??= configWarnings({ config, kinds: sources.kinds, files: entries }, yaml)
        return found
      },
      effectiveYaml: lazyYaml(schema, input),
    }
  } catch (error) {
    // What the schema cannot see: entries of files, and all regular expressions together.
    if (!(error instanceof FilterError)) throw error
    const ofEntries = listFileErrors(config, entries)
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

function readValues(
  schema: ConfigSchema,
  yaml: YamlFile,
  sources: SecretSources,
): { readonly config: Config } | RefusedConfig {
  const { value, failures } = expandSecrets(schema, yaml.value, sources)
  const result = schema.safeParse(value)
  const lost = new Set(failures.map((failure) => JSON.stringify(failure.path)))
  const issues = result.error?.issues.filter((issue) => !lost.has(JSON.stringify(issue.path))) ?? []
  const errors = inFileOrder([
    ...failures.map(({ path: key, error: { message, hint } }) =>
      errorAt(key, message, { place: yaml.valuePlace(key), hint }),
    ),
    ...explainIssues(issues, schema, yaml),
  ])
  if (errors.length > 0 || !result.success) return { errors }
  return { config: result.data }
}

/**
 * Freezes a configuration that has been read from `file`, and makes its rules.
 *
 * @throws FilterError E_CONFIG when a list file cannot be used
 */
export async function rulesOf(config: Config, file: string): Promise<LoadedRules> {
  await inTurns(freeze(config))
  const directory = path.dirname(path.resolve(file))
  const { files, failures } = await readLists(listFilesOf(config), directory)
  if (failures[0]) throw failures[0].error
  return await loadedRules(config, files, directory)
}

function entriesOf(files: NamedLists): ListFiles {
  return new Map(Array.from(files, ([name, file]) => [name, file.entries]))
}

async function loadedRules(config: Config, files: NamedLists, directory: string): Promise<LoadedRules> {
  return {
    rules: await inTurns(rulesInSteps(config, entriesOf(files))),
    listFiles: [...files.values()],
    reread: async (paths) => {
      const named: NamedList[] = listFilesOf(config).filter(({ name }) => {
        const file = files.get(name)
        return file !== undefined && paths.has(file.path)
      })
      const { files: changed, failures } = await readLists(named, directory)
      if (failures[0]) throw failures[0].error
      return await loadedRules(config, new Map([...files, ...changed]), directory)
    },
  }
}

/** Apart, so that it keeps nothing else of the file in memory. */
function lazyYaml(schema: ConfigSchema, input: unknown): () => string {
  return () => effectiveYaml(schema, input)
}

function effectiveYaml(schema: ConfigSchema, input: unknown): string {
  const filled = rewriteInput(schema, input, { defaults: true, secret: maskSecret })
  return stringify(filled, { lineWidth: 110 })
}

/** Freezes plain values with all below them. */
function* freeze(values: object): Steps<void> {
  const waiting = [values]
  for (let count = 1, next = waiting.pop(); next; count++, next = waiting.pop()) {
    Object.freeze(next)
    for (const below of Object.values(next) as unknown[]) {
      if (typeof below === 'object' && below !== null && !Object.isFrozen(below)) waiting.push(below)
    }
    if (count % FROZEN_OF_STEP === 0) yield
  }
}

const FROZEN_OF_STEP = 500
