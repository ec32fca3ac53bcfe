import { FilterError, parseAddress, type Address, type Config } from '@ecluse/core'
import { CONFIG_OPTION, configFile, type Arguments, type Command, type Surroundings } from '../command.ts'
import { checkDaemon } from '../doctor/daemonHttp.ts'
import { checkNextHop } from '../doctor/checkNextHop.ts'
import { checkPlaces } from '../doctor/checkPlaces.ts'
import { checkPostfix, type PostfixReport } from '../doctor/checkPostfix.ts'
import { checkRedis } from '../doctor/checkRedis.ts'
import { checkScanners } from '../doctor/checkScanners.ts'
import { programFolders } from '../doctor/postconf.ts'
import { frontAddress, probe } from '../doctor/probe.ts'
import { formatDiagnosis, formatJson, formatSummary, warn, type Diagnosis } from '../doctor/report.ts'
import { loadConfig } from '../loadConfig.ts'
import { describeError } from '../terminal.ts'
import { configuredScanners, reinjectOptions } from '../wiring.ts'

/** `doctor`. */
export const doctor: Command = {
  name: 'doctor',
  usage: '--config FILE [--postfix DIR] [--probe ADDRESS [--sender ADDRESS] [--submit HOST:PORT]] [--json]',
  summary:
    'Asks scanners, folders, Redis, daemon, 10025 and Postfix, and says what does not fit, with the cure.',
  options: {
    config: CONFIG_OPTION,
    postfix: { type: 'string', doc: 'The folder of main.cf; absent: the one that Postfix uses itself.' },
    probe: { type: 'string', doc: 'Send a message to this address through all of it, and watch it pass.' },
    sender: { type: 'string', doc: 'The sender of this message; absent: the null sender.' },
    submit: { type: 'string', doc: 'Where Postfix takes it; absent: as master.cf says, or 127.0.0.1:25.' },
    json: {
      type: 'boolean',
      doc: 'An array of {check, ok, warning, detail, cure}; warning and cure only where there is one.',
    },
  },
  async run(args, around) {
    const wanted = probeArguments(args)
    const loaded = await loadConfig(configFile(args), around)
    if ('errors' in loaded) {
      for (const error of loaded.errors) around.complain(describeError(error))
      return 2
    }
    const configured = loaded.warnings.map((warning) =>
      warn('configuration', describeError(warning), 'see ecluse check'),
    )
    const json = args.options['json'] === true
    const all: Diagnosis[] = []
    for await (const some of examine(loaded.config, args, { around, wanted, configured })) {
      all.push(...some)
      if (!json) for (const diagnosis of some) around.out(formatDiagnosis(diagnosis))
    }
    around.out(json ? formatJson(all) : formatSummary(all))
    return all.some(({ level }) => level === 'wrong') ? 1 : 0
  },
}

/** What `--probe` and the options around it say. */
interface Wanted {
  readonly recipient: string
  readonly sender: string
  readonly submitTo?: Address
}

interface Examination {
  readonly around: Surroundings
  readonly wanted: Wanted | undefined
  readonly configured: readonly Diagnosis[]
}

/** Each group as soon as it is known: an engine that does not answer takes its time. */
async function* examine(
  config: Config,
  args: Arguments,
  { around, wanted, configured }: Examination,
): AsyncGenerator<readonly Diagnosis[]> {
  yield configured
  yield await checkScanners(configuredScanners(config), config, Date.now())
  yield await checkPlaces(config)
  yield await checkRedis(config)
  yield [await checkDaemon(config.http.address)]
  yield await checkNextHop(config, await reinjectOptions(config.reinject, config.hostname))
  const report = await checkPostfix(config, {
    ...optional('directory', textOption(args, 'postfix')),
    folders: programFolders(around.env['PATH']),
  })
  yield report.diagnoses
  if (wanted) yield await probe({ ...wanted, config, ...whereTo(wanted, report, config) })
}

function whereTo(
  { submitTo }: Wanted,
  { postfix }: PostfixReport,
  config: Config,
): Pick<Parameters<typeof probe>[0], 'submitTo' | 'postfix'> {
  const front = submitTo ?? (postfix && frontAddress(postfix, config)) ?? { host: '127.0.0.1', port: 25 }
  return { submitTo: front, ...optional('postfix', postfix) }
}

function optional<K extends string, V>(key: K, value: V | undefined): Partial<Record<K, V>> {
  return value === undefined ? {} : ({ [key]: value } as Partial<Record<K, V>>)
}

function textOption({ options }: Arguments, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' ? value : undefined
}

// What stands in a command: no blank, no bracket, nothing but ASCII.
const MAIL_ADDRESS = /^[!-;=?-~]{1,256}@[!-;=?-~]{1,255}$/

/** @throws FilterError E_USAGE */
function probeArguments(args: Arguments): Wanted | undefined {
  const recipient = textOption(args, 'probe')
  const sender = textOption(args, 'sender') ?? ''
  const submitTo = textOption(args, 'submit')
  if (recipient === undefined) {
    if (sender === '' && submitTo === undefined) return undefined
    throw new FilterError('E_USAGE', 'doctor: --sender and --submit belong to --probe', {
      hint: 'add --probe ADDRESS',
    })
  }
  for (const address of [recipient, sender].filter((text) => text !== '' || text === recipient)) {
    if (MAIL_ADDRESS.test(address)) continue
    throw new FilterError('E_USAGE', `doctor: "${address.slice(0, 60)}" is no mail address`, {
      hint: 'write NAME@DOMAIN',
    })
  }
  return {
    recipient,
    sender,
    ...optional('submitTo', submitTo === undefined ? undefined : submitAddress(submitTo)),
  }
}

function submitAddress(text: string): Address {
  try {
    return parseAddress(text)
  } catch (cause) {
    throw new FilterError('E_USAGE', `doctor: --submit ${text.slice(0, 60)}: expected host:port`, { cause })
  }
}
