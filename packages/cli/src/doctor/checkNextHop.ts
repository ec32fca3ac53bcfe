import { FilterError, formatAddress, type Config } from '@ecluse/core'
import { createReinjector, type ReinjectOptions } from '@ecluse/mail'
import { numberOf } from './postfixConfig.ts'
import { failureOf, warn, well, wrong, type Diagnosis } from './report.ts'

/** What is lost where the next hop does not offer it. */
const EXTENSIONS: readonly (readonly [keyword: string, loss: string, needed: boolean])[] = [
  ['XFORWARD', 'its log loses the client', true],
  ['DSN', 'senders that asked for a delivery notice get one too early', true],
  ['8BITMIME', 'mail with 8-bit text breaks the rules from there on', true],
  ['SMTPUTF8', 'mail to or from international addresses is refused', false],
  ['PIPELINING', 'each command waits for its reply', false],
]

/** Connects to `reinject.address`, says EHLO and QUIT; no mail. Never rejects. */
export async function checkNextHop(config: Config, options: ReinjectOptions): Promise<Diagnosis[]> {
  const check = 'reinject'
  const where = formatAddress(options.address)
  const reinjector = createReinjector(options)
  const started = performance.now()
  try {
    const { banner, extensions } = await reinjector.probe(AbortSignal.timeout(options.timeouts.connectMs * 2))
    const elapsed = (performance.now() - started).toFixed(0)
    return [
      well(check, `${where}: ${banner}, answers in ${elapsed} ms`),
      ...checkExtensions(config, extensions),
    ]
  } catch (error) {
    if (!(error instanceof FilterError)) throw error
    const cure =
      'see whether the re-entry service is in master.cf and runs: ecluse postfix prints it, postfix reload'
    return [wrong(check, failureOf(error), cure)]
  } finally {
    await reinjector.close()
  }
}

function checkExtensions({ reinject, limits }: Config, lines: readonly string[]): Diagnosis[] {
  const check = 'reinject extensions'
  const offered = new Map(lines.map((line) => [line.split(' ', 1)[0]?.toUpperCase(), line]))
  const missing = EXTENSIONS.filter(([keyword]) => !offered.has(keyword))
  const found = missing.map(([keyword, loss, needed]): Diagnosis => {
    const detail = `it does not offer ${keyword}: ${loss}`
    // An LMTP server is no Postfix: what it lacks nobody can switch on.
    return needed && reinject.protocol === 'smtp'
      ? wrong(check, detail, cureFor(keyword))
      : warn(check, detail, cureFor(keyword))
  })
  const size = numberOf(offered.get('SIZE')?.split(' ')[1]) || Infinity
  if (size < limits.messageSize) {
    const detail = `it takes ${size} bytes, limits.messageSize is ${limits.messageSize} bytes`
    const cure = 'give it in master.cf: -o message_size_limit=0'
    found.push(warn('reinject size', detail, cure))
  }
  const names = EXTENSIONS.map(([keyword]) => keyword).filter((keyword) => offered.has(keyword))
  return found.length > 0 ? found : [well(check, names.join(', '))]
}

function cureFor(keyword: string): string {
  if (keyword === 'XFORWARD')
    return 'give it in master.cf: -o smtpd_authorized_xforward_hosts=127.0.0.0/8,[::1]/128'
  if (keyword === 'SMTPUTF8')
    return 'set smtputf8_enable = yes in main.cf, and -o smtpd_discard_ehlo_keywords= in master.cf'
  return 'give it in master.cf: -o smtpd_discard_ehlo_keywords='
}
