/** A line of master.cf (master(5)). */
export interface PostfixService {
  /** As in master.cf: `smtp`, `127.0.0.1:10025`, `ecluse`. */
  readonly name: string
  /** `inet`, `unix`, `pass` …  */
  readonly type: string
  readonly chroot: boolean
  /** How many processes at most; absent: `default_process_limit`. Infinity: no limit. */
  readonly maxProcesses?: number
  /** The program: `smtpd`, `lmtp`. */
  readonly command: string
  /** What its `-o` say, expanded. */
  readonly overrides: ReadonlyMap<string, string>
}

/** What Postfix does with main.cf and master.cf, as postconf(1) tells it. */
export interface PostfixConfig {
  /** In the order of master.cf. */
  readonly services: readonly PostfixService[]
  /** Every parameter that this Postfix knows, `$name` as in the file. */
  readonly raw: ReadonlyMap<string, string>
  /** The same, `$name` expanded. */
  readonly expanded: ReadonlyMap<string, string>
}

/** What postconf(1) printed. */
export interface PostconfOutput {
  /** `postconf` */
  readonly raw: string
  /** `postconf -x` */
  readonly expanded: string
  /** `postconf -M` */
  readonly services: string
  /** `postconf -xP` */
  readonly overrides: string
}

const SERVICE = /^(\S+)\s+(\S+)\s+\S+\s+\S+\s+(\S+)\s+\S+\s+(\S+)\s+(\S+)/
const OVERRIDE = /^(\S+)\/([a-z-]+)\/(\w+) = ?(.*)$/
const REFERENCE = /\$(?:(\w+)|\{(\w+)\}|\((\w+)\))/g
/** `${name?value}`, `${name:value}`, `${{a} == {b} ? …}`, `$$`: only postconf itself can read these. */
const CONDITIONAL = /\$[{(]\w+[?:]|\$[{(]\{|\$\$/
/** `$name` within `$name`: Postfix itself stops at 100, no real file needs more than a few. */
const MAX_DEPTH = 8

/** Reads what postconf printed. Lines that are not of its form are passed over. */
export function readPostfixConfig(output: PostconfOutput): PostfixConfig {
  const overrides = new Map<string, Map<string, string>>()
  for (const line of output.overrides.split('\n')) {
    const [, name, type, parameter = '', value = ''] = OVERRIDE.exec(line) ?? []
    if (name === undefined) continue
    const key = `${name}/${type}`
    const known = overrides.get(key) ?? new Map<string, string>()
    overrides.set(key, known.set(parameter, value.trim()))
  }
  const services = output.services.split('\n').flatMap((line): PostfixService[] => {
    const [, name, type = '', chroot, processes = '', command = ''] = SERVICE.exec(line) ?? []
    if (name === undefined) return []
    return [
      {
        name,
        type,
        chroot: chroot === 'y',
        ...(/^\d+$/.test(processes) && { maxProcesses: Number(processes) || Infinity }),
        command: command.slice(command.lastIndexOf('/') + 1),
        overrides: overrides.get(`${name}/${type}`) ?? new Map(),
      },
    ]
  })
  return { services, raw: readParameters(output.raw), expanded: readParameters(output.expanded) }
}

function readParameters(text: string): Map<string, string> {
  const parameters = new Map<string, string>()
  for (const line of text.split('\n')) {
    const equals = line.indexOf(' =')
    if (equals > 0) parameters.set(line.slice(0, equals), line.slice(equals + 2).trim())
  }
  return parameters
}

/**
 * The value of a parameter as a service sees it: its `-o` first, also within the `$name` of other parameters; then
 * main.cf; then the default. '' is empty; absent: this Postfix does not know the parameter.
 */
export function settingOf(
  postfix: PostfixConfig,
  name: string,
  service?: PostfixService,
): string | undefined {
  return resolve(postfix, name, { overrides: service?.overrides ?? new Map(), depth: 0 })
}

function resolve(
  postfix: PostfixConfig,
  name: string,
  { overrides, depth }: { readonly overrides: ReadonlyMap<string, string>; readonly depth: number },
): string | undefined {
  const overridden = overrides.get(name)
  if (overridden !== undefined) return overridden
  const raw = postfix.raw.get(name)
  const plain = raw === undefined || !raw.includes('$') || CONDITIONAL.test(raw) || depth === MAX_DEPTH
  if (plain || overrides.size === 0) return postfix.expanded.get(name) ?? raw
  const replaced = raw.replace(
    REFERENCE,
    (_, bare?: string, braces?: string, parentheses?: string) =>
      resolve(postfix, bare ?? braces ?? parentheses ?? '', { overrides, depth: depth + 1 }) ?? '',
  )
  return replaced.trim()
}

/** How many processes a service may have; Infinity: no limit. */
export function processLimit(postfix: PostfixConfig, service: PostfixService): number {
  return service.maxProcesses ?? (numberOf(settingOf(postfix, 'default_process_limit')) || Infinity)
}

/** A whole number; 0 where there is none. */
export function numberOf(text: string | undefined): number {
  return /^\d{1,15}$/.test(text ?? '') ? Number(text) : 0
}

/** The same where 0 means no limit: Infinity. */
export function limitOf(text: string | undefined): number {
  return numberOf(text) || Infinity
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/** A time such as `1200s` or `20m` in milliseconds; seconds where no unit stands. Absent: it is none. */
export function timeMsOf(text: string | undefined): number | undefined {
  const [, number, unit = 's'] = /^(\d{1,9})([smhdw])?$/.exec(text ?? '') ?? []
  return number === undefined ? undefined : Number(number) * (UNIT_SECONDS[unit] ?? 1) * 1000
}

/** The words of a list: separated by blanks and commas; what is in braces stays together, as in `inline:{a=b, c=d}`. */
export function wordsOf(text: string | undefined): string[] {
  return (text ?? '').match(/(?:[^\s,{}]|\{[^{}]*\})+/g) ?? []
}
