import { expect, test } from '@jest/globals'
import { DEFAULT_POLICY, assess, decide, type Envelope, type Policy, type ScanResult } from '@ecluse/core'
import { createLog } from './logOutput.ts'
import { messageRecord, type Handled } from './record.ts'
import type { Outcome } from './pipeline.ts'
import type { MessageRecord } from './record.ts'

const envelope: Envelope = {
  protocol: 'lmtp',
  mailFrom: 'kees@example.com',
  recipients: [{ address: 'a@example.org' }, { address: 'b@example.org' }],
  smtpUtf8: false,
  client: { address: '192.0.2.9', port: 57278, queueId: '35EE580A20', helo: 'mx.example.com' },
  peer: { address: '127.0.0.1', helo: 'mail.example.org' },
  listener: '127.0.0.1:10024',
}
const handled: Handled = {
  id: 'LMHsfmxldtMS',
  sizeBytes: 544,
  digest: 'd1'.repeat(32),
  envelope,
  direction: 'inbound',
  receiveMs: 1,
  header: Buffer.from('Subject: x\r\nMessage-ID: <m1@example.com>\r\n\r\n'),
}
const policy: Policy = {
  ...DEFAULT_POLICY,
  tagLevel: 0,
  tag2Level: 5,
  killLevel: 10,
  subjectTag: '',
  quarantine: ['virus', 'spam'],
}
const result = (scan: Partial<ScanResult>): ScanResult =>
  ({
    scanner: 's',
    concerns: ['virus', 'spam'],
    elapsedMs: 2.345,
    outcome: 'done',
    cached: false,
    ...scan,
  }) as ScanResult

function recordOf(scan: ScanResult, replies: [number, string][], relayed: string[] = []): MessageRecord {
  const assessment = assess([scan], policy)
  const decisions = envelope.recipients.map((recipient) =>
    decide(recipient, { policy, local: true }, assessment),
  )
  const outcome: Outcome = {
    scans: [scan],
    decisions,
    deliveries: new Map(
      relayed.map((queuedAs, index) => {
        const recipient = envelope.recipients[index] ?? { address: '' }
        return [recipient, { recipient, outcome: 'relayed', mta: 'm', line: '250 ok', queuedAs }]
      }),
    ),
    replies: [],
    ...(decisions.some(({ quarantined }) => quarantined) && { quarantineId: handled.id }),
    replayed: new Map(),
    unknowable: false,
    forgotten: [],
    bounced: false,
    times: {},
  }
  return messageRecord(handled, {
    outcome,
    replies: replies.map(([code, text]) => ({ code, enhanced: '2.0.0', text })),
    totalMs: 999.4,
  })
}

/** Whole lines as they are written, without the process id and the running number. */
function linesOf(
  write: (log: ReturnType<typeof createLog>) => void,
  format: 'json' | 'text' = 'text',
): string[] {
  const lines: string[] = []
  write(createLog('info', format, { write: (line) => void lines.push(line) }))
  return lines.map((line) => line.replace(/^\(\d{5,}-\d{2,}\)/, '(00675-01)'))
}

const spam = result({
  verdict: { findings: [{ kind: 'score', points: 1005.482, symbols: [{ name: 'GTUBE', score: 1000 }] }] },
} as Partial<ScanResult>)
const clean = result({ verdict: { findings: [] } } as Partial<ScanResult>)
const virus = result({ verdict: { findings: [{ kind: 'virus', name: 'Eicar' }] } } as Partial<ScanResult>)

test.each<[string, MessageRecord, string[]]>([
  [
    'spam, discarded and kept',
    recordOf(spam, [
      [250, 'Ok, discarded'],
      [250, 'Ok, discarded'],
    ]),
    [
      '(00675-01) Blocked SPAM {DiscardedInbound,Quarantined}, [192.0.2.9]:57278 <kees@example.com> -> <a@example.org>,<b@example.org>, quarantine: LMHsfmxldtMS, Queue-ID: 35EE580A20, Message-ID: <m1@example.com>, mail_id: LMHsfmxldtMS, Hits: 1005.482, size: 544, Tests: [GTUBE=1000], 999 ms\n',
    ],
  ],
  [
    'clean, relayed to both',
    recordOf(
      clean,
      [
        [250, 'ok'],
        [250, 'ok'],
      ],
      ['A1', 'A1'],
    ),
    [
      '(00675-01) Passed CLEAN {RelayedInbound}, [192.0.2.9]:57278 <kees@example.com> -> <a@example.org>,<b@example.org>, Queue-ID: 35EE580A20, Message-ID: <m1@example.com>, mail_id: LMHsfmxldtMS, Hits: -, size: 544, queued_as: A1, 999 ms\n',
    ],
  ],
  [
    'clean, one refused by the next hop',
    recordOf(
      clean,
      [
        [250, 'ok'],
        [550, 'no'],
      ],
      ['A1'],
    ),
    [
      '(00675-01) Passed CLEAN {RelayedInbound}, [192.0.2.9]:57278 <kees@example.com> -> <a@example.org>, Queue-ID: 35EE580A20, Message-ID: <m1@example.com>, mail_id: LMHsfmxldtMS, Hits: -, size: 544, queued_as: A1, 999 ms\n',
      '(00675-01) Blocked MTA-BLOCKED {RejectedInbound}, [192.0.2.9]:57278 <kees@example.com> -> <b@example.org>, Queue-ID: 35EE580A20, Message-ID: <m1@example.com>, mail_id: LMHsfmxldtMS, Hits: -, size: 544, 999 ms\n',
    ],
  ],
])("amavisd's line: %s", (_name, record, expected) => {
  expect(linesOf((log) => log.message(record))).toEqual(expected)
})

test('the JSON line has the fields of the contract, in its order', () => {
  const [line = ''] = linesOf(
    (log) =>
      log.message(
        recordOf(virus, [
          [250, 'Ok, discarded'],
          [250, 'Ok, discarded'],
        ]),
      ),
    'json',
  )
  const event = JSON.parse(line) as Record<string, unknown>
  expect(Object.keys(event)).toEqual([
    'level',
    'time',
    'event',
    'id',
    'queueId',
    'client',
    'helo',
    'mailFrom',
    'size',
    'digest',
    'category',
    'scanners',
    'recipients',
    'quarantineId',
    'direction',
    'ms',
  ])
  expect(event).toMatchObject({
    level: 'info',
    event: 'message',
    category: 'virus',
    scanners: [{ name: 's', verdict: 'virus', ms: 2.3, cached: false }],
    recipients: [{ address: 'a@example.org', category: 'virus', destiny: 'discard' }, {}],
    quarantineId: 'LMHsfmxldtMS',
    ms: 999.4,
  })
})

test.each(['json', 'text'] as const)('hostile text stays one line and commands no terminal: %s', (format) => {
  const hostile = 'a\r\n{"event":"message"}\u001b[2J\u2028\u202e\udc9b\0@x'
  const record = recordOf(
    clean,
    [
      [250, 'ok'],
      [250, 'ok'],
    ],
    ['A1', 'A1'],
  )
  const lines = linesOf((log) => {
    log.message({
      ...record,
      envelope: { ...envelope, mailFrom: hostile },
      header: Buffer.from('Message-ID: <\x1b]0;x>\r\n\r\n'),
    })
    log.warn(
      { scanner: hostile, err: Object.assign(new Error(hostile), { code: hostile }) },
      'scanner failed',
    )
  }, format)
  expect(lines).toHaveLength(2)
  for (const line of lines) {
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029\u202e]/u)
    expect(line.endsWith('\n')).toBe(true)
  }
})

test('lines above the level are not written', () => {
  const lines: string[] = []
  const log = createLog('warn', 'text', { write: (line) => void lines.push(line) })
  log.info({}, 'no')
  log.message(
    recordOf(clean, [
      [250, 'ok'],
      [250, 'ok'],
    ]),
  )
  log.warn({ scanner: 'clamav' }, 'scanner failed')
  log.error({}, 'worse')
  expect(lines).toEqual(['(!)scanner failed scanner=clamav\n', '(!!)worse\n'])
})

test('a message of whose sender something is proved is clean', () => {
  const proved = result({
    verdict: { findings: [{ kind: 'authenticated', method: 'spf', identity: 'mail-from' }] },
  } as Partial<ScanResult>)
  expect(recordOf(proved, []).scanners).toEqual(recordOf(clean, []).scanners)
})
