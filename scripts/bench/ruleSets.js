/** Configurations with many rules: the same in one YAML file, or with their lists in files of their own. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const policyCount = 10_000
export const senderCount = 100_000
/** Recipients of one more policy, in a file. */
const listedCount = 20_000

/** One of the senders in the lists, of three kinds. */
export function sender(index) {
  if (index % 3 === 0) return `user${index}@sender${index}.example.net`
  return index % 3 === 1 ? `sender${index}.example.net` : `.sender${index}.example.net`
}

export function customer(index) {
  return `customer${index}.customers.example`
}

function policies() {
  const entries = Array.from(
    { length: policyCount },
    (_, index) => `  - name: customer-${index}
    when: { recipients: [.${customer(index)}, postmaster@${customer(index)}] }
    policy: { tag2Level: ${4 + (index % 40) / 10}, quarantine: [virus, spam] }
`,
  )
  return `policies:\n${entries.join('')}`
}

const listed = '  - { name: listed, when: { recipients: ["file:recipients"] }, policy: { tag2Level: 4 } }\n'

/** Lines of YAML behind a configuration, and the files that they name, written to `directory`. */
export function writeRuleSet(directory, kind) {
  mkdirSync(directory, { recursive: true })
  if (kind === 'none') return ''
  const senders = Array.from({ length: senderCount }, (_, index) => sender(index))
  if (kind === 'inline') {
    return `${policies()}senders:\n  - action: block\n    senders:\n${senders.map((each) => `      - ${each}\n`).join('')}`
  }
  writeFileSync(join(directory, 'senders'), `${senders.join('\n')}\n`)
  const recipients = Array.from({ length: listedCount }, (_, index) => `user${index}@example.org\n`)
  writeFileSync(join(directory, 'recipients'), recipients.join(''))
  return `${policies()}${listed}senders:\n  - { action: block, senders: ["file:senders"] }\n`
}

/** How many entries all lists of such a configuration have. */
export function entryCount(kind) {
  if (kind === 'none') return 0
  return 2 * policyCount + senderCount + (kind === 'files' ? listedCount : 0)
}
