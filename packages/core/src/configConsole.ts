import { z } from 'zod'
import type { Address } from './address.ts'
import { address, section } from './schema.ts'

/** Where people reach their quarantine. */
export interface ConsoleConfig {
  readonly address: Address
  /** What links begin with; without a final slash. */
  readonly url: string
}

const URL_ERROR = 'expected a URL such as https://mail.example.org/quarantine'

/** Without user, query or fragment. */
const URL_PATTERN = /^https?:\/\/(?:[A-Za-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?(?:\/[A-Za-z0-9._~-]+)*\/?$/

/** `console`. */
export function consoleSection() {
  return section('The page on which recipients release what is kept for them; needs quarantine.secret.', {
    address: address('Where it listens, for your reverse proxy alone.').prefault('127.0.0.1:9726'),
    url: z
      .string({ error: URL_ERROR })
      .refine((url) => url.length <= 200 && URL_PATTERN.test(url) && URL.canParse(url), { error: URL_ERROR })
      .transform((url) => url.replace(/\/$/, ''))
      .meta({
        description:
          'Where people reach it, through that proxy and TLS: what the links in the daily lists begin with.',
        notation: 'URL',
      }),
  })
}

/** Without the secret, no link could be made or believed. */
export function linksHaveASecret(
  {
    console: page,
    quarantine,
  }: { readonly console?: ConsoleConfig; readonly quarantine: { readonly secret?: string } },
  context: z.core.$RefinementCtx,
): void {
  if (!page || quarantine.secret !== undefined) return
  const params = {
    hint: 'write quarantine: { secret: "${NAME}" } or file:PATH; `openssl rand -hex 32` makes one',
  }
  context.addIssue({ code: 'custom', path: ['console'], message: 'needs quarantine.secret', params })
}
