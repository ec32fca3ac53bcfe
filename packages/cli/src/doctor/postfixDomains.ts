import { settingOf, wordsOf, type PostfixConfig } from './postfixConfig.ts'

/** Domains that Postfix takes mail for, as far as one can see without asking every table. */
export interface PostfixDomains {
  /** Literal names, lower case, with the parameter that has it. A name that begins with a dot stands for all below it. */
  readonly named: ReadonlyMap<string, string>
  /** Tables such as `hash:/etc/postfix/domains`, each once. */
  readonly tables: readonly string[]
}

const PARAMETERS = ['mydestination', 'virtual_mailbox_domains', 'virtual_alias_domains', 'relay_domains']

/** Reads the four lists of domains that Postfix takes mail for (ADDRESS_CLASS_README). */
export function postfixDomains(postfix: PostfixConfig): PostfixDomains {
  const named = new Map<string, string>()
  const tables = new Set<string>()
  for (const parameter of PARAMETERS) {
    for (const word of wordsOf(settingOf(postfix, parameter))) {
      // An address literal is no domain, and what is excluded does not come in.
      if (word.startsWith('!') || word.startsWith('[')) continue
      if (word.includes(':') || word.startsWith('/') || word.startsWith('{')) tables.add(word)
      else if (!named.has(word.toLowerCase())) named.set(word.toLowerCase(), parameter)
    }
  }
  return { named, tables: [...tables] }
}
