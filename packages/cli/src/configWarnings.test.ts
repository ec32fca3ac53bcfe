import { describe, expect, test } from '@jest/globals'
import { LOCAL, ORDINARY, warningsOf } from '../test/warnings.ts'

test('there are none for an ordinary configuration', async () => {
  expect(await warningsOf(ORDINARY)).toEqual([])
  const mailbox = 'quarantine: { store: mailbox, mailbox: q@example.org }'
  expect(await warningsOf(`${LOCAL}scanners: [{ kind: clamd }]\n${mailbox}\n`)).toEqual([])
})

describe('of the whole', () => {
  const KEEP = 'quarantine: { keep: 30d }\n'
  const CLAMD = 'scanners: [{ kind: clamd }]\n'

  test.each([
    [`${LOCAL}${KEEP}`, '1:1: scanners: none: nothing looks at the mail (see ecluse scanners)'],
    [
      `localDomains: []\n${CLAMD}${KEEP}`,
      '1:15: localDomains: empty: no recipient gets spam headers or the subject tag (name the domains that you receive mail for)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, url: 'postgres://u@db/q?sslmode=verify-full' }\n`,
      '3:31: quarantine.url: has no use with store: files (remove it)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: postgres, keep: 30d, directory: /srv, url: postgres://u@127.0.0.1/q }\n`,
      '3:54: quarantine.directory: has no use with store: postgres (remove it)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: postgres, keep: 30d, compress: gzip, url: 'postgres://u@[::1]/q' }\n`,
      '3:53: quarantine.compress: has no use with store: postgres (remove it)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: postgres, keep: 30d, url: postgres://u@db.example.org/q }\n`,
      '3:48: quarantine.url: has no TLS: who is in between reads the mail that is kept (write ?sslmode=verify-full behind the database)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: postgres, keep: 30d, url: postgres://u@db/q?sslmode=require }\n`,
      '3:48: quarantine.url: with sslmode=require anybody may pretend to be the server (write ?sslmode=verify-full behind the database)',
    ],
    [
      `${ORDINARY}notices: { admin: root@example.com }\n`,
      '4:19: notices.admin: is not in localDomains: subjects and addresses of your mail go there (use an address of your own)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, secret: 0123456789abcdef0123456789abcdef }\n`,
      '3:34: quarantine.secret: has no use without console: no links are made (add console: { url: … }, or remove it)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, secret: 0123456789abcdef0123456789abcdef }\nconsole: { url: 'https://mail.example.org' }\n`,
      '4:10: console: nobody gets a link to it: notices.recipients is false (write notices: { recipients: true })',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, secret: 0123456789abcdef0123456789abcdef }\nnotices: { recipients: true }\nconsole: { url: 'http://mail.example.org' }\n`,
      '5:17: console.url: without TLS, whoever listens can release mail (use https)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, mailbox: q@example.org }\n`,
      '3:35: quarantine.mailbox: has no use with store: files (remove it)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: mailbox, mailbox: q@example.org, keep: 30d }\n`,
      '3:61: quarantine.keep: has no use with store: mailbox (remove it, and let the mail server delete old mail of the mailbox)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: mailbox, mailbox: q@example.org, compress: gzip }\n`,
      '3:65: quarantine.compress: has no use with store: mailbox (remove it)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { store: mailbox, mailbox: q@example.org, rescan: unchecked }\npolicy: { quarantine: [virus, banned, spam, unchecked], destiny: { unchecked: discard } }\n`,
      '3:63: quarantine.rescan: has no use with store: mailbox (remove it)',
    ],
    [
      `${LOCAL}${KEEP}scanners: [{ kind: rspamd }, { kind: clamd, onError: pass }]\n`,
      '3:54: scanners[1].onError: no virus scanner has another onError than pass: when they fail, viruses are delivered (use tempfail for one of them)',
    ],
    [
      `${LOCAL}${KEEP}scanners: [{ kind: test }]\n`,
      '3:20: scanners[0].kind: is for trying things out: senders choose their own score (remove it where real mail is)',
    ],
    [
      `${ORDINARY}listen: [{ address: '0.0.0.0:10024', trust: [0.0.0.0/0] }]\n`,
      '4:45: listen[0].trust: everybody may send mail through here as if it were checked by Postfix (name the address of Postfix)',
    ],
    [
      `${ORDINARY}listen: [{ address: '10.0.0.9:10024', trust: [10.0.0.0/24], proxies: [10.0.0.5, '::/0'] }]\n`,
      '4:81: listen[0].proxies[1]: everybody may say to be any client, and so be one that is trusted (name the address of the balancer)',
    ],
    [
      `${ORDINARY}listen: [{ address: '127.0.0.1:10024', proxies: [127.0.0.5, 10.0.0.5] }]\n`,
      '4:61: listen[0].proxies[1]: can never match: only this machine reaches 127.0.0.1:10024 (remove it, or let the listener have an address that the balancer reaches)',
    ],
    [
      `${ORDINARY}limits: { connections: 20 }\n`,
      '4:1: limits.concurrency: can never be reached: limits.connections is 20 (lower it, or raise limits.connections)',
    ],
    [
      `${ORDINARY}limits: { spoolBytes: 49MiB }\n`,
      '4:23: limits.spoolBytes: below limits.messageSize: the largest messages come in only one at a time (raise it, or lower limits.messageSize)',
    ],
    [
      `localDomains: [.example.org, mail.Example.org]\n${CLAMD}${KEEP}`,
      '1:30: localDomains[1]: mail.example.org can never match: .example.org covers it (remove it)',
    ],
    [
      `localDomains: [example.org, example.net, example.org]\n${CLAMD}${KEEP}`,
      '1:42: localDomains[2]: example.org can never match: it stands here already (remove it)',
    ],
    [
      `${ORDINARY}softBounce: true\n`,
      '4:13: softBounce: mail that would be refused or discarded stays in the queue of Postfix (take it out before maximal_queue_lifetime, 5 days, is over: then Postfix sends it back)',
    ],
    [
      `${LOCAL}${CLAMD}`,
      '1:1: quarantine.keep: not set: the quarantine grows for ever (write keep: 30d, or maxSize: 20GiB)',
    ],
    [
      `${ORDINARY}redis: { url: 'redis://127.0.0.1' }\n`,
      '4:1: redis.secret: not set: who can write to Redis can make a virus clean, and mail vanish (write one, the same for all instances)',
    ],
    [
      `${ORDINARY}redis: { url: 'redis://127.0.0.1' }\nledger: { shared: false }\n`,
      '4:1: redis.secret: not set: who can write to Redis can make a virus clean (write one, the same for all instances)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { directory: /srv/quarantine }\n`,
      '3:1: quarantine.keep: not set: the quarantine grows for ever (write keep: 30d, or maxSize: 20GiB)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: { virus: 90d, spam: 14d } }\n`,
      '3:21: quarantine.keep: does not name banned: what is kept of it stays for ever (add banned: 30d, or set quarantine.maxSize)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, rescan: unchecked }\n`,
      '3:34: quarantine.rescan: no effect: no copy is kept of unchecked mail (add unchecked to policy.quarantine)',
    ],
    [
      `${LOCAL}${CLAMD}quarantine: { keep: 30d, rescan: unchecked }\npolicy: { quarantine: [virus, banned, spam, unchecked] }\n`,
      '3:34: quarantine.rescan: no effect: unchecked mail is delivered, or its sender told (set policy.destiny.unchecked: discard)',
    ],
  ])('%j', async (source, expected) => {
    expect(await warningsOf(source)).toEqual([expected])
  })

  test.each([
    "redis: { url: 'redis://127.0.0.1', secret: 'sixteen characters' }",
    "listen: [{ address: '10.0.0.9:10024', trust: [10.0.0.0/24], proxies: [10.0.0.5, 2001:db8::5] }]",
    "listen: [{ address: '127.0.0.1:10024', proxies: [127.0.0.1] }]",
    "listen: [{ address: '[::1]:10024', proxies: ['::1', 127.0.0.0/8] }]",
    "listen: [{ address: '0.0.0.0:10024', proxies: [0.0.0.0/0], tls: { key: /k, cert: /c, ca: /a, requireClientCertificate: true } }]",
  ])('there is none of %s', async (listen) => {
    expect(await warningsOf(`${ORDINARY}${listen}\n`)).toEqual([])
  })

  test.each([
    'keep: { virus: 90d, spam: 14d, banned: 1h }',
    'maxSize: 20GiB',
    'keep: { spam: 1d }, maxSize: 1GiB',
  ])('there is none of a quarantine with %s', async (keys) => {
    expect(await warningsOf(`${LOCAL}${CLAMD}quarantine: { ${keys} }\n`)).toEqual([])
  })

  test('there is none of a rescan of what is discarded and kept', async () => {
    const policy = 'policy: { quarantine: [virus, banned, spam, unchecked], destiny: { unchecked: discard } }'
    const kept = 'quarantine: { keep: 30d, rescan: unchecked }'
    expect(await warningsOf(`${LOCAL}${CLAMD}${kept}\n${policy}\n`)).toEqual([])
  })

  test('there is none of a quarantine that nothing comes into', async () => {
    const destiny = 'destiny: { virus: reject, banned: reject, spam: reject }'
    expect(await warningsOf(`${LOCAL}${CLAMD}policy: { quarantine: [], ${destiny} }\n`)).toEqual([])
  })
})

describe('of policies', () => {
  const overlay = (when: string, policy: string): string =>
    `policies: [{ name: a, when: { ${when} }, policy: { ${policy} } }]\n`

  test.each([
    [
      'policy: { destiny: { virus: pass } }\n',
      '4:29: policy.destiny.virus: viruses are delivered (use policies for those who want them)',
    ],
    [
      'policy: { quarantine: [virus, banned] }\n',
      '4:1: policy.destiny.spam: spam mail is discarded and no copy kept (add spam to policy.quarantine)',
    ],
    [
      'policy: { destiny: { spam: tempfail } }\n',
      '4:28: policy.destiny.spam: spam mail stays in the queue of Postfix (Postfix tries for days, then sends it back to its sender)',
    ],
    [
      'policy: { bypass: [virus] }\n',
      '4:19: policy.bypass: no mail is looked at for viruses: they are delivered (use policies for those who want them)',
    ],
    [
      'policy: { deliverAnyway: [spam, virus] }\n',
      '4:26: policy.deliverAnyway: viruses are delivered (use policies for those who want them)',
    ],
    [
      overlay('', 'bypass: [virus, spam]'),
      '4:53: policies[0].policy.bypass: no mail is looked at for viruses: they are delivered (use policies for those who want them)',
    ],
    [
      'policy: { messageSize: 60MiB }\n',
      '4:24: policy.messageSize: can never be reached: limits.messageSize is smaller (remove it, or raise limits.messageSize)',
    ],
    [
      `recipientDelimiter: ''\npolicy: { addressExtension: { spam: spam } }\n`,
      '5:29: policy.addressExtension: no effect: recipientDelimiter is "" (set recipientDelimiter as Postfix has it)',
    ],
    [
      `recipientDelimiter: ''\n${overlay('originating: false', 'addressExtension: { spam: spam }')}`,
      '5:81: policies[0].policy.addressExtension: no effect: recipientDelimiter is "" (set recipientDelimiter as Postfix has it)',
    ],
    [
      overlay('originating: true', 'killLevel: 5'),
      '4:73: policies[0].policy.killLevel: 5 is below tag2Level, 6.2 (set tag2Level here too)',
    ],
    [
      overlay('originating: true', 'tag2Level: 20'),
      '4:73: policies[0].policy.tag2Level: 20 is above killLevel, 15 (set killLevel here too)',
    ],
    [
      overlay('originating: true', ''),
      '4:60: policies[0].policy: has no keys: it changes nothing (remove it)',
    ],
    [
      overlay('originating: true', 'destiny: {}'),
      '4:60: policies[0].policy: has no keys: it changes nothing (remove it)',
    ],
    [
      overlay('originating: false, clients: [127.0.0.1, 127.1.0.0/16]', 'killLevel: 9'),
      '4:44: policies[0].when.originating: never holds beside clients: they are all in networks (take one of the conditions out)',
    ],
    [
      overlay('originating: true, clients: [192.0.2.0/24, 2001:db8::/32]', 'killLevel: 9'),
      '4:44: policies[0].when.originating: never holds beside clients: none of them is in networks (take one of the conditions out)',
    ],
  ])('%j', async (source, expected) => {
    expect(await warningsOf(`${ORDINARY}${source}`)).toEqual([expected])
  })

  test.each([
    overlay('originating: false, clients: [127.0.0.1, 192.0.2.0/24]', 'killLevel: 9'),
    overlay('originating: true, clients: [192.0.2.0/24, 127.0.0.1]', 'killLevel: 9'),
    overlay('originating: true, clients: [0.0.0.0/0]', 'killLevel: 9'),
    overlay(
      'recipients: [samples@example.org]',
      'bypass: [virus], deliverAnyway: [virus], destiny: { virus: pass }',
    ),
    overlay('originating: true', 'tag2Level: 4, killLevel: 5'),
    `policy: { addressExtension: { spam: spam } }\n`,
  ])('there is none for %j', async (source) => {
    expect(await warningsOf(`${ORDINARY}${source}`)).toEqual([])
  })
})

describe('of a policy that a later one overwrites', () => {
  const rule = (name: string, when: string, policy: string): string =>
    `  - { name: ${name}, when: { ${when} }, policy: { ${policy} } }\n`
  const OUT = 'originating: true'
  const VIP = 'recipients: [a@example.org, b@example.org]'
  const PIV = 'recipients: [b@example.org, a@example.org]'

  test.each([
    ['the same conditions', [rule('a', OUT, 'killLevel: 9'), rule('b', OUT, 'killLevel: 8')], 'b'],
    ['fewer conditions', [rule('a', `${OUT}, ${VIP}`, 'killLevel: 9'), rule('b', PIV, 'killLevel: 8')], 'b'],
    ['no conditions', [rule('a', VIP, 'killLevel: 9'), rule('b', '', 'killLevel: 8, tag2Level: 5')], 'b'],
    [
      'several of them',
      [
        rule('a', OUT, 'killLevel: 9, destiny: { spam: reject }'),
        rule('b', '', 'killLevel: 8'),
        rule('c', OUT, 'destiny: { spam: pass }'),
      ],
      'b, c',
    ],
  ])('%s', async (_, rules, names) => {
    const [first, ...others] = await warningsOf(`${ORDINARY}policies:\n${rules.join('')}`)
    expect(first).toContain(
      `policies[0].policy: nothing is left of it: ${names}, further down, always applies too`,
    )
    expect(first).toContain('(of several policies the last one wins: put the exception below the rule)')
    expect(others).toEqual([])
  })

  test.each([
    ['more conditions', [rule('a', OUT, 'killLevel: 9'), rule('b', `${OUT}, ${VIP}`, 'killLevel: 8')]],
    ['other conditions', [rule('a', OUT, 'killLevel: 9'), rule('b', 'originating: false', 'killLevel: 8')]],
    ['fewer keys', [rule('a', OUT, 'killLevel: 9, tag2Level: 5'), rule('b', OUT, 'killLevel: 8')]],
    [
      'another key of a section',
      [rule('a', OUT, 'destiny: { spam: pass }'), rule('b', OUT, 'destiny: { banned: pass }')],
    ],
    ['a place before it', [rule('b', '', 'killLevel: 8'), rule('a', OUT, 'killLevel: 9')]],
  ])('not by one with %s', async (_, rules) => {
    expect(await warningsOf(`${ORDINARY}policies:\n${rules.join('')}`)).toEqual([])
  })
})

describe('of senders', () => {
  const rule = (action: string, more = ''): string => `  - { action: ${action}, senders: [a@x, .y]${more} }\n`
  const ANYWAY = ', unauthenticated: true'
  const FOR_A = ', recipients: [a@example.org]'
  const SPAMD = ORDINARY.replace('{ kind: clamd }', '{ kind: clamd }, { kind: spamd }')

  test.each([
    ['blocks', [rule('allow'), rule('block')]],
    ['allows anyway', [rule('block'), rule('allow', ANYWAY)]],
    ['allows with proof, as it does', [rule('allow'), rule('allow')]],
    ['is for all', [rule('block', FOR_A), rule('block')]],
    ['is for the same recipients', [rule('allow', FOR_A), rule('block', FOR_A)]],
    ['has others too', [rule('allow'), '  - { action: block, senders: [b@x, .y, a@x] }\n']],
    ['has exceptions itself', ["  - { action: allow, senders: ['!b.y', .y] }\n", rule('block')]],
  ])('one is overruled by a later one that %s', async (_, rules) => {
    const [first, ...others] = await warningsOf(`${SPAMD}senders:\n${rules.join('')}`)
    expect(first).toContain(
      'senders[0].action: never decides: senders[1], further down, has the same senders',
    )
    expect(first).toContain('(the last one wins: put the exception below the rule)')
    expect(others).toEqual([])
  })

  test.each([
    ['needs proof', [rule('block'), rule('allow')]],
    ['needs proof where it does not', [rule('allow', ANYWAY), rule('allow')]],
    ['is for some', [rule('block'), rule('block', FOR_A)]],
    ['is for others', [rule('block', ', recipients: [b@example.org]'), rule('block', FOR_A)]],
    ['has fewer senders', [rule('allow'), '  - { action: block, senders: [a@x] }\n']],
    ['has exceptions', [rule('allow'), "  - { action: block, senders: [a@x, .y, '!b.y'] }\n"]],
    ['scores', [rule('allow'), '  - { score: 5, senders: [a@x, .y] }\n']],
  ])('none is by a later one that %s', async (_, rules) => {
    expect(await warningsOf(`${SPAMD}senders:\n${rules.join('')}`)).toEqual([])
  })

  const NEVER =
    '5:15: senders[0].action: never counts: nothing proves who the sender is (add a scanner of kind spamd or rspamd, name the authserv-id of our own checks in authservIds, or write unauthenticated: true)'
  test.each([
    [`${ORDINARY}senders:\n${rule('allow')}`, [NEVER]],
    [`${ORDINARY}senders:\n${rule('allow', ANYWAY)}`, []],
    [`${ORDINARY}senders:\n${rule('block')}`, []],
    [`${ORDINARY}authservIds: [mail.example.org]\nsenders:\n${rule('allow')}`, []],
    [`${SPAMD}senders:\n${rule('allow')}`, []],
  ])('an allowed one needs something that proves it: %j', async (source, expected) => {
    expect(await warningsOf(source)).toEqual(expected)
  })
})
