import { FilterError, type Finding } from '@ecluse/core'
import { EICAR, GTUBE } from '@ecluse/fixtures'
import { scannerOf } from './daemon.testkit.ts'
import type { GoldenCase } from './golden.testkit.ts'

const LOCAL = ['<strict@example.org>', '<lenient@example.org>', '<lover@example.org>', '<marie@example.org>']
const ALL = [...LOCAL, '<paul@elsewhere.example>']
const utf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1')

const mail = (subject: string | undefined, ...body: readonly string[]): string[] => [
  'From: Shop <shop@example.com>',
  'To: everybody:;',
  ...(subject === undefined ? [] : [`Subject: ${subject}`]),
  'Message-ID: <1@example.com>',
  '',
  ...body,
]
const points = (score: number): string => `ECLUSE-TEST-SCORE=${score} .`
const finds = (...findings: Finding[]) => [scannerOf(async () => ({ findings }))]

export const GOLDEN_CASES: readonly GoldenCase[] = [
  {
    name: '01-ham',
    about: 'Nothing found: the test scanner gives no points, so there are no spam fields.',
    to: ALL,
    content: mail('Lunch', 'At noon?'),
  },
  {
    name: '02-below-all-levels',
    about: 'Spam fields from tagLevel on: not for lenient, whose tagLevel is 3, and not outside.',
    to: ALL,
    content: mail('Lunch', points(2.5)),
  },
  {
    name: '03-negative',
    about: 'Points below zero: no star, and no blank behind the colon.',
    to: ['<marie@example.org>'],
    content: mail('Lunch', points(-2.5)),
  },
  {
    name: '04-spammy-for-some',
    about: 'Spammy for strict alone; required= differs, so copies differ.',
    to: ALL,
    content: mail('Only today', points(5)),
  },
  {
    name: '05-spammy',
    about: 'Spammy for most: subject tags, and spammy mail for lover goes where spam goes.',
    to: ALL,
    content: mail('Only today', points(7.25)),
  },
  {
    name: '06-spam',
    about: 'Spam: refused, passed and merely spammy, delivered anyway, discarded; discarded outside too.',
    to: ALL,
    content: mail('Only today', points(20)),
  },
  {
    name: '07-spam-for-all',
    about: 'Spam even for lenient; many stars, at most 64.',
    to: ALL,
    content: mail('Only today', GTUBE),
  },
  {
    name: '08-virus',
    about:
      'A virus: refused, discarded, delivered anyway with alert, tag, extension and the id in quarantine.',
    to: ALL,
    content: mail('invoice', EICAR),
  },
  {
    name: '09-virus-in-spam',
    about: 'A virus in spam is a virus. Calm has no spam fields, brave no virus fields.',
    to: [...ALL, '<calm@example.org>', '<brave@example.org>'],
    content: mail('invoice', EICAR, points(7.25)),
  },
  {
    name: '10-virus-passed-outside',
    about: 'Outside the alert is there, but neither spam fields nor the id in quarantine, tag or extension.',
    site: { policy: { destiny: { virus: 'pass' }, addressExtension: { virus: 'virus' } } },
    to: ['<marie@example.org>', '<paul@elsewhere.example>'],
    content: mail('invoice', EICAR, points(7.25)),
  },
  {
    name: '11-subject-missing',
    about: 'A missing Subject is added above the first field of the message.',
    to: ['<marie@example.org>', '<lenient@example.org>'],
    content: mail(undefined, points(7.25)),
  },
  {
    name: '12-subject-encoded',
    about: 'Encoded words stay as they are behind the tag.',
    to: ['<marie@example.org>'],
    content: mail('=?UTF-8?Q?Gr=C3=BC=C3=9Fe?= =?UTF-8?B?4pyT?=', points(7.25)),
  },
  {
    name: '13-subject-folded',
    about: 'Folding of the subject stays as it is.',
    to: ['<marie@example.org>'],
    content: mail('a long subject that is\r\n\tfolded in the middle\r\n  and once more', points(7.25)),
  },
  {
    name: '14-subject-tagged-before',
    about: 'Tags that stand there already go.',
    to: ['<marie@example.org>'],
    content: mail('***SPAM*** Re: ***SPAM*** Only today', points(7.25)),
  },
  {
    name: '15-subject-empty',
    about: 'An empty subject is the tag.',
    to: ['<marie@example.org>'],
    content: mail('', points(7.25)),
  },
  {
    name: '16-subject-raw-utf8',
    about: 'Bytes beyond ASCII in a subject stay.',
    from: '<shop@example.com> BODY=8BITMIME',
    to: ['<marie@example.org>'],
    content: mail(utf8('Grüße'), points(7.25)),
  },
  {
    name: '17-subject-tag-in-german',
    about: 'A tag outside of ASCII is an encoded word.',
    site: { policy: { subjectTag: '[Verdächtig] ' } },
    to: ['<marie@example.org>'],
    content: mail('Nur heute', points(7.25)),
  },
  {
    name: '18-forged-fields',
    about: 'Fields that only we may write do not pass, also where we write none.',
    to: ['<marie@example.org>', '<paul@elsewhere.example>'],
    content: [
      'X-Spam-Flag: YES',
      'X-Quarantine-ID: <forged000000>',
      'X-Ecluse-Alert: none',
      'X-Amavis-Alert: none',
      'x-virus-status: Clean',
      'X-Spam-Status: No, score=-100',
      '\ttests=[FORGED]',
      ...mail('Lunch', 'At noon?'),
    ],
  },
  {
    name: '19-fields-removed',
    about: 'removeHeaders, for one recipient.',
    site: {
      policies: [
        {
          name: 'private',
          when: { recipients: ['marie@example.org'] },
          policy: { removeHeaders: ['X-Mailer', 'X-Acme-*'] },
        },
      ],
    },
    to: ['<marie@example.org>', '<anna@example.org>'],
    content: ['X-Mailer: Shop 1.0', 'X-Acme-Id: 1', 'x-acme-other: 2', ...mail('Lunch', 'At noon?')],
  },
  {
    name: '20-sender-blocked',
    about: 'BLACKLISTED stands between required= and tests=; 64 points.',
    from: '<bad@example.net>',
    to: ALL,
    content: mail('Lunch', points(1)),
  },
  {
    name: '21-sender-allowed',
    about: 'WHITELISTED stands there, with 0 points; lenient sees it too, below its tagLevel.',
    from: '<friend@example.net>',
    to: ALL,
    content: mail('Lunch', points(20)),
  },
  {
    name: '22-sender-scored',
    about: 'Points of a list are a rule among others, by the author in From as well.',
    from: '<bounce@lists.example>',
    to: ['<marie@example.org>', '<strict@example.org>'],
    content: ['From: a@news.example', 'Subject: News', '', points(7.25)],
  },
  {
    name: '23-null-sender',
    about: 'A bounce.',
    from: '<>',
    to: ['<marie@example.org>'],
    content: mail('Undelivered', points(7.25)),
  },
  {
    name: '24-delivery-notices',
    about: 'DSN parameters pass; the address that the sender knows is the ORCPT of an extended one.',
    from: '<shop@example.com> RET=HDRS ENVID=QQ314159',
    to: [
      '<lover@example.org> NOTIFY=SUCCESS,DELAY',
      '<lover@example.org> NOTIFY=NEVER ORCPT=rfc822;chef+2Bx@example.org',
      '<paul@elsewhere.example> NOTIFY=FAILURE',
    ],
    content: mail('Only today', points(7.25)),
  },
  {
    name: '25-extended-addresses',
    about: 'An extension replaces the one that is there, inside quotes too; case stays.',
    site: { policy: { addressExtension: { spam: 'spam' } } },
    to: ['<Anna+Lists@Example.org>', '<"an na"@example.org>', '<postmaster>', '<a+b@elsewhere.example>'],
    content: mail('Only today', points(7.25)),
  },
  {
    name: '26-internationalized',
    about: 'SMTPUTF8: no ORCPT is made of an address that is not ASCII.',
    site: { policy: { addressExtension: { spam: 'spam' } } },
    from: `<${utf8('zoé')}@example.com> BODY=8BITMIME SMTPUTF8`,
    to: [`<${utf8('rené')}@example.org>`],
    content: mail(utf8('Déjeuner'), points(7.25)),
  },
  {
    name: '27-many-rules',
    about: 'A long X-Spam-Status folds between words and behind commas, at 78 columns.',
    scanners: finds({
      kind: 'score',
      points: 7.25,
      symbols: Array.from({ length: 14 }, (_, index) => ({ name: `RULE_NUMBER_${index}`, score: index / 8 })),
    }),
    to: ['<marie@example.org>'],
    content: mail('Only today', 'text'),
  },
  {
    name: '28-many-viruses',
    about: 'So do the names of viruses.',
    site: { policy: { destiny: { virus: 'pass' } } },
    scanners: finds(
      ...Array.from({ length: 6 }, (_, index): Finding => ({
        kind: 'virus',
        name: `Win.Trojan.Number-${index}`,
      })),
    ),
    to: ['<marie@example.org>'],
    content: mail('invoice', 'text'),
  },
  {
    name: '29-virus-names',
    about: 'Names that are none: points, or nothing.',
    site: { policy: { virusNames: { 'Phish.*': 7, 'PUA.*': 'ignore' } } },
    scanners: finds({ kind: 'virus', name: 'Phish.A' }, { kind: 'virus', name: 'PUA.B' }),
    to: ['<marie@example.org>', '<paul@elsewhere.example>'],
    content: mail('invoice', 'text'),
  },
  {
    name: '30-encrypted',
    about: 'Unchecked, for a reason; one recipient wants none of it.',
    site: {
      policies: [
        {
          name: 'x',
          when: { recipients: ['strict@example.org'] },
          policy: { destiny: { unchecked: 'reject' } },
        },
      ],
    },
    scanners: finds({ kind: 'unchecked', reason: 'encrypted' }),
    to: ALL,
    content: mail('invoice', 'text'),
  },
  {
    name: '31-scanner-failed',
    about: 'onError: pass delivers, but not as clean.',
    scanners: [
      scannerOf(
        async () => {
          throw new FilterError('E_SCANNER_CONNECT', 'no answer')
        },
        { onError: 'pass' },
      ),
    ],
    to: ['<marie@example.org>', '<paul@elsewhere.example>'],
    content: mail('invoice', 'text'),
  },
  {
    name: '32-scanner-needed',
    about: 'onError: tempfail keeps everything back, but for brave, who does not want that scanner.',
    scanners: [
      scannerOf(
        async () => {
          throw new FilterError('E_SCANNER_CONNECT', 'no answer')
        },
        { concerns: ['virus'] },
      ),
    ],
    to: ['<marie@example.org>', '<brave@example.org>'],
    content: mail('invoice', 'text'),
  },
  {
    name: '33-soft-bounce',
    about: 'What would be refused or discarded waits, and no copy is kept.',
    site: { softBounce: true },
    to: ALL,
    content: mail('invoice', EICAR),
  },
  {
    name: '34-too-large',
    about: 'A limit of one recipient.',
    site: {
      policies: [{ name: 'x', when: { recipients: ['strict@example.org'] }, policy: { messageSize: 100 } }],
    },
    to: ['<strict@example.org>', '<marie@example.org>'],
    content: mail('Lunch', 'At noon?'),
  },
  {
    name: '35-smtp',
    about:
      'One reply: one recipient is refused, so nothing is handed over, and nothing kept: it comes again.',
    protocol: 'smtp',
    to: ['<marie@example.org>', '<strict@example.org>'],
    content: mail('Only today', points(9)),
  },
  {
    name: '36-no-header',
    about: 'A message without a header: ours stand above an empty line.',
    to: ['<marie@example.org>'],
    content: ['', points(7.25), '.', '..', '. ', ''],
  },
  {
    name: '37-hostile-names',
    about: 'Names from an engine that means harm: nothing of them begins a line.',
    site: { policy: { destiny: { virus: 'pass' } } },
    scanners: finds(
      { kind: 'virus', name: 'A\r\nX-Evil: 1' },
      { kind: 'score', points: 7, symbols: [{ name: 'B\u0000\u001b[2J', score: 7 }] },
    ),
    to: ['<marie@example.org>'],
    content: mail('invoice', 'text'),
  },
]
