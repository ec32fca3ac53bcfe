import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { describeWith, mailDate, startMailSystem, type MailSystem, type SinkMessage } from '@ecluse/fixtures'

const POLICIES = `localDomains: [example.org]
scanners: [{ kind: test }]
policies:
  - { name: strict, when: { recipients: [strict@example.org] }, policy: { destiny: { spam: reject } } }
  - { name: lenient, when: { recipients: [lenient@example.org] }, policy: { killLevel: 50, subjectTag: '[maybe] ' } }
  - name: lover
    when: { recipients: [lover@example.org] }
    policy: { deliverAnyway: [spam], addressExtension: { spam: spam } }
  - { name: patient, when: { recipients: [patient@example.org] }, policy: { destiny: { spam: tempfail } } }`

const spam = {
  mailFrom: 'shop@example.net',
  data: `Date: ${mailDate()}
From: Shop <shop@example.net>
To: everybody:;
Subject: Only today
Message-ID: <only.today@example.net>

ECLUSE-TEST-SCORE=20 .
`.replaceAll('\n', '\r\n'),
}

/** What Postfix's log says became of a recipient before the filter: `sent (250 2.0.0 …)`; all tries. */
function statusOf({ postfix }: MailSystem, queueId: string, address: string): string[] {
  const lines = postfix.log().split('\n')
  return lines
    .filter((line) => line.includes(` ${queueId}: to=<${address}>`) && line.includes('postfix/ecluse/lmtp'))
    .map((line) => /status=(.*)$/.exec(line)?.[1] ?? '')
}

function field({ data }: SinkMessage, name: string): string | undefined {
  const header = data
    .toString('latin1')
    .split('\r\n\r\n', 1)[0]
    ?.replace(/\r\n(?=[ \t])/g, '')
  return header
    ?.split('\r\n')
    .find((line) => line.startsWith(`${name}: `))
    ?.slice(name.length + 2)
}

async function quarantined(system: MailSystem): Promise<string[]> {
  const names = await readdir(join(system.ecluse().directory, 'quarantine'), { recursive: true })
  return names.filter((name) => name.endsWith('.eml'))
}

const describePostfix = describeWith({ describe, beforeAll }, 'postfix')

describePostfix('spam for recipients with different policies, through Postfix', () => {
  let system: MailSystem
  let queueId: string

  beforeAll(async () => {
    system = await startMailSystem({ yaml: POLICIES })
    queueId = await system.send({
      ...spam,
      parameters: 'RET=HDRS',
      recipients: [
        'strict@example.org',
        'lenient@example.org',
        ['lover+shops@example.org', 'NOTIFY=FAILURE'],
        'friend@example.com',
        'patient@example.org',
      ],
    })
    await system.ecluse().waitForMessage((line) => line.queueId === queueId)
    // Two copies, and what Postfix tells the sender.
    await system.sink.waitFor(3)
    await system.postfix.waitForQueue((queue) => queue.length === 1 && queue[0]?.queue_name === 'deferred')
  }, 120_000)

  afterAll(async () => await system?.close())

  test('Postfix logs for each what became of it', () => {
    expect(statusOf(system, queueId, 'strict@example.org')).toEqual([
      expect.stringMatching(/^bounced \(host \S+ said: 554 5\.7\.0 Reject, id=\S+ - spam \(in reply/),
    ])
    expect(statusOf(system, queueId, 'lenient@example.org')).toEqual([
      expect.stringMatching(
        /^sent \(250 2\.0\.0 from MTA\(smtp:\[127\.0\.0\.1\]:\d+\): 250 2\.0\.0 Ok: queued as /,
      ),
    ])
    expect(statusOf(system, queueId, 'lover+shops@example.org')).toEqual([
      expect.stringMatching(/^sent \(250 2\.0\.0 from MTA\(/),
    ])
    expect(statusOf(system, queueId, 'friend@example.com')).toEqual([
      expect.stringMatching(/^sent \(250 2\.7\.0 Ok, discarded, id=\S+ - spam\)$/),
    ])
    expect(statusOf(system, queueId, 'patient@example.org')).toEqual([
      expect.stringMatching(
        /^deferred \(host \S+ said: 450 4\.7\.0 Temporary failure, id=\S+ - spam \(in reply/,
      ),
    ])
  })

  test('each copy has the marks of its recipient', () => {
    const copies = system.sink.messages.filter(({ mailFrom }) => mailFrom !== '')
    const shown = copies.map((copy) => ({
      to: copy.recipients,
      subject: field(copy, 'Subject'),
      flag: field(copy, 'X-Spam-Flag'),
      status: field(copy, 'X-Spam-Status')?.split(' tests=')[0],
    }))
    expect(shown.toSorted((a, b) => (b.subject ?? '').length - (a.subject ?? '').length)).toEqual([
      {
        to: [
          {
            address: 'lover+spam@example.org',
            parameters: ['ORCPT=rfc822;lover+2Bshops@example.org', 'NOTIFY=FAILURE'],
          },
        ],
        subject: '***SPAM*** Only today',
        flag: 'YES',
        status: 'Yes, score=20 tagged_above=-999 required=6.2',
      },
      {
        to: [{ address: 'lenient@example.org', parameters: ['ORCPT=rfc822;lenient@example.org'] }],
        subject: '[maybe] Only today',
        flag: 'YES',
        status: 'Yes, score=20 tagged_above=-999 required=6.2',
      },
    ])
  })

  test('the sender hears of the refused recipient alone', () => {
    const notices = system.sink.messages.filter(({ mailFrom }) => mailFrom === '')
    expect(notices.map(({ recipients }) => recipients.map(({ address }) => address))).toEqual([
      ['shop@example.net'],
    ])
    const text = notices[0]?.data.toString('latin1') ?? ''
    expect(text.match(/^Final-Recipient: .*$/gm)).toEqual(['Final-Recipient: rfc822; strict@example.org'])
  })

  test('only who is deferred is tried again', async () => {
    await system.postfix.flush()
    const again = await system
      .ecluse()
      .waitForMessage((line) => line.queueId === queueId && line.recipients.length === 1)
    expect(again.recipients).toMatchObject([
      { address: 'patient@example.org', destiny: 'tempfail', category: 'spam' },
    ])
    expect(system.sink.messages).toHaveLength(3)
  })
})

describePostfix('softBounce, through Postfix', () => {
  let system: MailSystem

  beforeAll(async () => {
    system = await startMailSystem({ yaml: `${POLICIES}\nsoftBounce: true` })
  }, 120_000)

  afterAll(async () => await system?.close())

  test('what would be refused or discarded stays in the queue, the rest is delivered, no copy is kept', async () => {
    const recipients = ['strict@example.org', 'lenient@example.org', 'friend@example.com']
    const queueId = await system.send({ ...spam, recipients })
    await system.sink.waitFor(1)
    const [queued] = await system.postfix.waitForQueue(
      (queue) => queue.length === 1 && queue[0]?.queue_name === 'deferred',
    )
    expect(queued?.queue_id).toBe(queueId)
    expect(queued?.recipients.map(({ address }) => address).toSorted()).toEqual([
      'friend@example.com',
      'strict@example.org',
    ])
    expect(statusOf(system, queueId, 'strict@example.org')).toEqual([
      expect.stringMatching(
        /^deferred \(host \S+ said: 450 4\.7\.0 Reject \(soft_bounce\), id=\S+ - spam \(/,
      ),
    ])
    expect(statusOf(system, queueId, 'friend@example.com')).toEqual([
      expect.stringMatching(
        /^deferred \(host \S+ said: 450 4\.7\.0 Discard \(soft_bounce\), id=\S+ - spam \(/,
      ),
    ])
    expect(statusOf(system, queueId, 'lenient@example.org')).toEqual([expect.stringMatching(/^sent \(250 /)])
    expect(await quarantined(system)).toEqual([])
    expect(system.sink.messages.map((copy) => copy.recipients.map(({ address }) => address))).toEqual([
      ['lenient@example.org'],
    ])
  })
})
