import type { Config } from '@ecluse/core'
import { checkDomains, localNames, type TableAnswers } from './checkDomains.ts'
import { checkFeeds, checkFilter } from './checkFeed.ts'
import { checkFront } from './checkFront.ts'
import { checkLimits } from './checkLimits.ts'
import { checkReentry } from './checkReentry.ts'
import { askPostconf, runPostfix, type PostconfOptions } from './postconf.ts'
import { settingOf, type PostfixConfig } from './postfixConfig.ts'
import { postfixDomains } from './postfixDomains.ts'
import { findWay } from './postfixWay.ts'
import { warn, well, wrong, type Diagnosis } from './report.ts'

/** What was found out about Postfix. */
export interface PostfixReport {
  readonly diagnoses: readonly Diagnosis[]
  /** Absent: it could not be asked. */
  readonly postfix?: PostfixConfig
}

/** Reads main.cf and master.cf through postconf(1) and compares them with our configuration. Never rejects. */
export async function checkPostfix(config: Config, options: PostconfOptions): Promise<PostfixReport> {
  const check = 'postfix'
  const answer = await askPostconf(options)
  if ('missing' in answer) {
    const cure = 'run doctor where Postfix is'
    return { diagnoses: [warn(check, 'postconf not found: not checked', cure)] }
  }
  if ('failure' in answer) {
    return { diagnoses: [wrong(check, answer.failure, 'see what postfix check says')] }
  }
  const { postfix, warnings } = answer
  const way = findWay(postfix, config)
  const domains = postfixDomains(postfix)
  const answers = await askTables(domains.tables, localNames(config.localDomains), options)
  const version = `Postfix ${settingOf(postfix, 'mail_version')}, ${settingOf(postfix, 'config_directory')}`
  return {
    postfix,
    diagnoses: [
      well(check, version),
      ...warnings.map((line) => warn('postfix warning', line, 'correct main.cf or master.cf')),
      ...checkFilter(way),
      ...checkFeeds(way),
      ...checkReentry(way),
      ...checkLimits(way),
      ...checkFront(way),
      ...checkDomains(way, domains, answers),
    ],
  }
}

/** Kinds of tables that are files of this machine, or no file at all: asking them disturbs nobody. */
const CHEAP = /^(?:hash|btree|lmdb|cdb|dbm|sdbm|texthash|inline|static|regexp|pcre):/
const MAX_TABLES = 20
const MAX_DOMAINS = 1000

async function askTables(
  tables: readonly string[],
  domains: readonly string[],
  options: PostconfOptions,
): Promise<TableAnswers> {
  const cheap = tables.filter((table) => CHEAP.test(table)).slice(0, MAX_TABLES)
  const input = domains
    .slice(0, MAX_DOMAINS)
    .map((domain) => `${domain}\n`)
    .join('')
  const asked = await Promise.all(
    cheap.map(async (table) => ({
      table,
      ...(await runPostfix('postmap', ['-q', '-', table], { ...options, input })),
    })),
  )
  // Exit code 1 is also that of a table without any of them; what went wrong stands on stderr.
  const failed = new Set(asked.filter(({ stderr }) => /fatal|error/.test(stderr)).map(({ table }) => table))
  const known = asked.flatMap(({ stdout }) => stdout.split('\n').map((line) => line.split('\t', 1)[0] ?? ''))
  return {
    known: new Set(known.filter((name) => name !== '')),
    unasked: tables.filter((table) => !cheap.includes(table) || failed.has(table)),
  }
}
