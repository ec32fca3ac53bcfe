import { compileRules, configSchema, type Envelope, type Rules } from './index.ts'

/** The rules of a configuration given as in the file, with one local domain. */
export function rulesOf(
  input: Readonly<Record<string, unknown>>,
  files = new Map<string, string[]>(),
): Rules {
  const config = configSchema([], 'mail.example.org').parse({
    localDomains: ['example.org'],
    networks: ['192.0.2.0/24'],
    ...input,
  })
  const read = [...files].map(
    ([name, lines]) =>
      [
        name,
        lines.map((text, index) => ({ text, place: { file: name.slice(5), line: index + 1 } })),
      ] as const,
  )
  return compileRules(config, new Map(read))
}

/** An envelope from outside. */
export function envelopeOf(changes: Partial<Envelope> = {}): Envelope {
  return {
    protocol: 'lmtp',
    mailFrom: 'sender@example.net',
    recipients: [],
    smtpUtf8: false,
    client: { address: '198.51.100.7' },
    peer: { address: '127.0.0.1', helo: 'mail.example.org' },
    listener: '127.0.0.1:10024',
    ...changes,
  }
}
