import { expect, test } from '@jest/globals'
import type { Decision, DeliveryResult, PlannedNotice } from '@ecluse/core'
import { loadNoticeTemplates, type ReinjectRequest } from '@ecluse/mail'
import { createLog } from './logOutput.ts'
import { createNotifier } from './notify.ts'

const ADMIN = 'postmaster@example.org'

test('what waits when Écluse stops, and is above the rate, is told in one mail', async () => {
  const sent: ReinjectRequest[] = []
  const [counts, lines]: [string[], string[]] = [[], []]
  const notifier = createNotifier(
    {
      admin: ADMIN,
      senders: false,
      adminRate: 1,
      bounceBudget: 1,
      from: ADMIN,
      templates: await loadNoticeTemplates('en'),
    },
    {
      hostname: 'mail.example.org',
      reinjector: {
        async deliver(request): Promise<DeliveryResult[]> {
          sent.push(request)
          return request.recipients.map((recipient) => ({
            recipient,
            outcome: 'relayed',
            mta: 'mta',
            line: '250 Ok',
          }))
        },
        probe: async () => await Promise.reject(new TypeError('not asked')),
        close: async () => undefined,
      },
      log: createLog('error', 'json', { write: (line) => void lines.push(line) }),
      count: (kind, result) => void counts.push(`${kind} ${result}`),
    },
  )
  for (const id of ['one', 'two', 'three']) notifier.tell([infected()], source(id))
  await notifier.close(new AbortController().signal)
  expect(counts).toEqual(['admin sent', 'admin held', 'admin held', 'admin-digest sent'])
  expect(lines).toEqual([])
  expect(sent.map(({ id }) => id)).toEqual(['one.admin', 'two.digest'])
})

function infected(): PlannedNotice {
  const decision = {
    recipient: { address: 'paul@example.org' },
    category: 'virus',
    destiny: 'discard',
    assessment: { viruses: ['X'] },
  }
  // A notice looks at no more of a decision than this.
  return { kind: 'admin', to: ADMIN, about: [decision as unknown as Decision] }
}

function source(id: string): Parameters<ReturnType<typeof createNotifier>['tell']>[1] {
  const mailFrom = 'marie@example.net'
  return {
    envelope: {
      protocol: 'lmtp',
      mailFrom,
      recipients: [{ address: 'paul@example.org' }],
      smtpUtf8: false,
      client: {},
      peer: { helo: 'mx' },
      listener: 'l',
    },
    message: { id, date: new Date(), mailFrom, sizeBytes: 1, viruses: [], recipients: [] },
  }
}
