import { z } from 'zod'
import { section } from './schema.ts'

/** Who is told what by mail. Read, without effect. */
export function noticesSection() {
  return section('Mail about what was found; no effect in this version.', {
    admin: z
      .string({ error: 'expected a mail address' })
      .regex(/^[^\s@<>]{1,64}@[^\s@<>]{1,255}$/, { error: 'expected a mail address' })
      .meta({ description: 'Who is told of viruses.', notation: 'mail address' }),
  })
}
