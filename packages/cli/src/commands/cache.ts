import { FilterError } from '@ecluse/core'
import { askRedis, countVerdicts, purgeVerdicts, type WantedVerdicts } from '@ecluse/state/redis'
import { CONFIG_OPTION, configFile, type Arguments, type Command, type Surroundings } from '../command.ts'
import { loadConfig } from '../loadConfig.ts'
import { assertAnswers, withRedis, type RedisConnection } from '../redisConnection.ts'
import { describeError, escapeControls } from '../terminal.ts'

const ACTIONS = ['stats', 'purge'] as const
const USAGE = 'stats|purge [--scanner NAME] [--digest HEX] --config FILE'

/** `cache`. */
export const cache: Command = {
  name: 'cache',
  usage: USAGE,
  summary: 'Counts or removes the verdicts that instances share in Redis.',
  options: {
    config: CONFIG_OPTION,
    scanner: { type: 'string', doc: 'Those of this scanner alone.' },
    digest: {
      type: 'string',
      doc: 'Those of the message with this content alone: contentDigest in the log, content in explain.',
    },
  },
  positionals: 1,
  async run(args, around) {
    const action = ACTIONS.find((each) => each === args.positionals[0])
    if (action === undefined) {
      throw new FilterError('E_USAGE', 'cache: expected stats or purge', {
        hint: `usage: ecluse cache ${USAGE}`,
      })
    }
    const wanted = wantedVerdicts(args)
    const loaded = await loadConfig(configFile(args), around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    const done = await withRedis(loaded.config, async (redis) => {
      assertAnswers(redis)
      await (action === 'stats' ? stats : purge)(redis, wanted, around)
      return true
    })
    if (done) return 0
    throw new FilterError('E_CONFIG', 'redis is not configured: instances share no verdicts', {
      hint: 'a restart empties the memory of an instance',
    })
  },
}

function wantedVerdicts({ options }: Arguments): WantedVerdicts {
  const { scanner, digest } = options
  return {
    ...(typeof scanner === 'string' && { scanner }),
    ...(typeof digest === 'string' && { digest }),
  }
}

type Action = (
  redis: RedisConnection,
  wanted: WantedVerdicts,
  around: Pick<Surroundings, 'out'>,
) => Promise<void>

const stats: Action = async ({ link, options, where }, wanted, { out }) => {
  const counts = await countVerdicts(link, options.prefix, wanted)
  for (const { scanner, version, entries } of counts) {
    out(escapeControls(`${String(entries).padStart(9)}  ${scanner}  ${version}`) + '\n')
  }
  const total = counts.reduce((sum, { entries }) => sum + entries, 0)
  const facts = await askRedis(link, options.prefix)
  const memory = facts?.usedBytes === undefined ? '' : `; all of Redis: ${mebibytes(facts.usedBytes)}`
  const most = facts?.maxBytes ? ` of ${mebibytes(facts.maxBytes)}` : ''
  out(`${String(total).padStart(9)}  verdicts under "${options.prefix}" in ${where}${memory}${most}\n`)
}

const purge: Action = async ({ link, options, where }, wanted, { out }) => {
  const removed = await purgeVerdicts(link, options.prefix, wanted)
  out(`${removed} verdicts removed from ${where}; instances may still have some in memory\n`)
}

function mebibytes(bytes: number): string {
  return `${(bytes / (1024 * 1024)).toFixed(1)} MiB`
}
