import { cp, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import {
  describeWith,
  freePort,
  runEcluse,
  startClamd,
  startEcluse,
  startPostfix,
  startRspamd,
  startSmtpSink,
  startSpamd,
  type EcluseService,
  type PostfixService,
  type SmtpSink,
} from '@ecluse/fixtures'

interface Row {
  readonly check: string
  readonly ok: boolean
  readonly warning?: boolean
  readonly detail: string
  readonly cure?: string
}

const closers: (() => Promise<unknown>)[] = []
let sink: SmtpSink
let postfix: PostfixService
let ecluse: EcluseService
let directory = ''

async function start(): Promise<void> {
  const [clamd, spamd, rspamd] = await Promise.all([startClamd(), startSpamd(), startRspamd()])
  closers.push(clamd.close, spamd.close, rspamd.close)
  sink = await startSmtpSink()
  closers.push(sink.close)
  const lmtpPort = await freePort()
  postfix = await startPostfix({ deliverTo: sink.port, filter: `127.0.0.1:${lmtpPort}` })
  closers.push(postfix.close)
  ecluse = await startEcluse({
    lmtpPort,
    reinjectPort: postfix.reentryPort,
    // The size is that of the main.cf of the tests; the rest is as shipped.
    yaml: `localDomains: [example.org, example.net, .example.com]
limits: { messageSize: 100MiB }
scanners:
  - { kind: clamd, address: 'unix:${clamd.socketPath}' }
  - { kind: spamd, address: '127.0.0.1:${spamd.port}' }
  - { kind: rspamd, url: '${rspamd.url}' }`,
  })
  closers.push(ecluse.close)
}

async function doctor(
  configFile: string,
  postfixDirectory: string,
  ...more: string[]
): Promise<{ readonly code: number; readonly rows: readonly Row[] }> {
  const args = ['doctor', '--config', configFile, '--postfix', postfixDirectory, '--json', ...more]
  const { code, stdout, stderr } = await runEcluse(args)
  expect(stderr).toBe('')
  return { code, rows: JSON.parse(Buffer.from(stdout, 'latin1').toString('utf8')) as Row[] }
}

const isWell = ({ ok, warning }: Row): boolean => ok && warning !== true

/** A Postfix configuration on its way into a mistake. */
interface Files {
  mainCf: string
  masterCf: string
  yaml: string
}

type Edit = (files: Files) => void

const setMain =
  (parameter: string, value: string): Edit =>
  (files) => {
    const lines = files.mainCf.split('\n').filter((line) => !line.startsWith(`${parameter} =`))
    files.mainCf = [...lines, `${parameter} = ${value}`, ''].join('\n')
  }

const replace =
  (file: keyof Files, from: string | RegExp, to: string): Edit =>
  (files) => {
    const changed = files[file].replace(from, to)
    if (changed === files[file]) throw new Error(`${file}: no ${String(from)}`)
    files[file] = changed
  }

/** An option of the re-entry service or of the transport. */
const setOption = (name: string, value: string): Edit =>
  replace('masterCf', new RegExp(`^  -o ${name}=.*$`, 'm'), `  -o ${name}=${value}`)

const dropOption = (name: string): Edit => replace('masterCf', new RegExp(`^  -o ${name}=.*\n`, 'm'), '')

describeWith(
  { describe, beforeAll },
  'postfix',
  'clamd',
  'spamd',
  'rspamd',
)('doctor', () => {
  beforeAll(start, 120_000)

  afterAll(async () => {
    for (const close of closers.splice(0).reverse()) await close()
  })

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ecluse-t18-'))
  })

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true })
  })

  /** Runs it on a copy of the two configurations with a mistake in it. */
  async function doctorAfter(edit: Edit): Promise<Awaited<ReturnType<typeof doctor>>> {
    const etc = join(directory, 'etc')
    await cp(postfix.configDirectory, etc, { recursive: true })
    const places = {
      mainCf: join(etc, 'main.cf'),
      masterCf: join(etc, 'master.cf'),
      yaml: ecluse.configFile,
    } as const
    const files: Files = {
      mainCf: await readFile(places.mainCf, 'utf8'),
      masterCf: await readFile(places.masterCf, 'utf8'),
      yaml: await readFile(places.yaml, 'utf8'),
    }
    edit(files)
    await writeFile(places.mainCf, files.mainCf)
    await writeFile(places.masterCf, files.masterCf)
    // postconf waits until what it reads is a second old.
    for (const file of [places.mainCf, places.masterCf]) await utimes(file, 0, 0)
    const yaml = join(directory, 'ecluse.yaml')
    await writeFile(yaml, files.yaml)
    return await doctor(yaml, etc)
  }

  test('finds nothing wrong with a Postfix that is set up as we ship it', async () => {
    const { code, rows } = await doctor(ecluse.configFile, postfix.configDirectory)
    expect(rows.filter((row) => !isWell(row))).toEqual([])
    expect(code).toBe(0)
    expect(rows.map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        'scanner clamd EICAR',
        'scanner spamd GTUBE',
        'scanner rspamd GTUBE',
        'reinject',
        'postfix filter',
      ]),
    )
  })

  test.each<readonly [check: string, level: '✗' | '!', cure: RegExp, edit: Edit]>([
    // The feed.
    ['postfix filter', '✗', /ecluse postfix/, setMain('content_filter', '')],
    ['postfix filter', '✗', /ecluse postfix/, setMain('content_filter', 'ecluse:[127.0.0.1]:9')],
    ['postfix filter', '✗', /ecluse postfix/, setMain('content_filter', 'eclusse:[127.0.0.1]:10024')],
    ['postfix filter', '✗', /run lmtp in master\.cf/, replace('masterCf', /^(ecluse .*)lmtp$/m, '$1smtp')],
    [
      'postfix bypass',
      '!',
      /remove content_filter=/,
      replace('masterCf', /^(127\.0\.0\.1:\d+ inet n - n - - smtpd)$/m, '$1\n  -o content_filter='),
    ],
    [
      'postfix feed xforward',
      '✗',
      /-o lmtp_send_xforward_command=yes/,
      dropOption('lmtp_send_xforward_command'),
    ],
    [
      'postfix feed timeout',
      '✗',
      /-o lmtp_data_done_timeout=1200s/,
      setOption('lmtp_data_done_timeout', '5m'),
    ],
    ['postfix feed line length', '✗', /-o lmtp_line_length_limit=0/, dropOption('lmtp_line_length_limit')],
    [
      'postfix feed tls',
      '✗',
      /-o lmtp_tls_security_level=none/,
      setOption('lmtp_tls_security_level', 'encrypt'),
    ],
    ['postfix feed source', '✗', /-o lmtp_bind_address=;/, setOption('lmtp_bind_address', '192.0.2.1')],
    // The way back.
    [
      'postfix reentry',
      '✗',
      /ecluse postfix/,
      replace('masterCf', /^127\.0\.0\.1:\d+ inet n {2}-(?:.*\n)(?: {2}-o.*\n)+/m, ''),
    ],
    ['postfix loop', '✗', /-o content_filter=$/, replace('masterCf', /^ {2}-o content_filter=\n/m, '')],
    ['postfix reentry restrictions', '✗', /-o mynetworks=/, setOption('mynetworks', '10.0.0.0/8')],
    [
      'postfix reentry restrictions',
      '✗',
      /-o smtpd_sender_restrictions=permit_mynetworks,reject/,
      (files) => {
        setMain('smtpd_sender_restrictions', 'reject_unknown_sender_domain')(files)
        dropOption('smtpd_sender_restrictions')(files)
      },
    ],
    [
      'postfix reentry restrictions',
      '!',
      /-o smtpd_helo_restrictions=permit_mynetworks,reject/,
      setOption('smtpd_helo_restrictions', 'check_helo_access,static:DUNNO'),
    ],
    [
      'postfix reentry strangers',
      '✗',
      /-o smtpd_client_restrictions=permit_mynetworks,reject/,
      (files) => {
        setMain('inet_interfaces', 'all')(files)
        replace('masterCf', /^127\.0\.0\.1:(\d+ inet n {2}-)/m, '$1')(files)
        setOption('smtpd_client_restrictions', '')(files)
        setOption('smtpd_recipient_restrictions', 'permit_mynetworks,reject_unauth_destination')(files)
      },
    ],
    [
      'postfix reentry xforward',
      '✗',
      /-o smtpd_authorized_xforward_hosts=127\.0\.0\.0\/8/,
      setOption('smtpd_authorized_xforward_hosts', ''),
    ],
    [
      'postfix reentry session',
      '✗',
      /-o smtpd_tls_security_level=none/,
      setOption('smtpd_tls_security_level', 'encrypt'),
    ],
    [
      'postfix reentry session',
      '✗',
      /-o smtpd_upstream_proxy_protocol=/,
      setOption('smtpd_upstream_proxy_protocol', 'haproxy'),
    ],
    [
      'postfix reentry extensions',
      '✗',
      /-o smtpd_discard_ehlo_keywords=/,
      setOption('smtpd_discard_ehlo_keywords', 'dsn,smtputf8'),
    ],
    [
      'postfix reentry overrides',
      '!',
      /-o receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_milters$/,
      (files) => {
        setMain('smtpd_milters', 'inet:127.0.0.1:8891')(files)
        dropOption('smtpd_milters')(files)
        setOption('receive_override_options', 'no_unknown_recipient_checks,no_header_body_checks')(files)
      },
    ],
    [
      'postfix reentry processes',
      '✗',
      /maxproc .* to 20 or more/,
      replace('masterCf', /^(127\.0\.0\.1:\d+ inet n .*)50( +smtpd)$/m, '$110$2'),
    ],
    [
      'postfix reentry client limits',
      '✗',
      /-o smtpd_client_event_limit_exceptions=/,
      (files) => {
        setMain('smtpd_client_connection_count_limit', '10')(files)
        setOption('smtpd_client_event_limit_exceptions', '')(files)
      },
    ],
    [
      'postfix reentry recipients',
      '!',
      /-o smtpd_recipient_limit=1000/,
      setOption('smtpd_recipient_limit', '100'),
    ],
    // What both sides allow.
    ['postfix size in', '✗', /set message_size_limit = 104857600/, setMain('message_size_limit', '0')],
    [
      'postfix size back',
      '✗',
      /"recleanup" in master\.cf: -o message_size_limit=0/,
      replace('masterCf', /(recleanup unix(?:.*\n)(?: {2}-o .*\n)?) {2}-o message_size_limit=0/, '$1'),
    ],
    [
      'postfix concurrency',
      '✗',
      /ecluse_destination_concurrency_limit = 50/,
      (files) => {
        setMain('ecluse_destination_concurrency_limit', '80')(files)
        replace('masterCf', /^(ecluse .*) 20 /m, '$1 80 ')(files)
      },
    ],
    ['postfix concurrency', '!', /the same number/, setMain('ecluse_destination_concurrency_limit', '30')],
    [
      'postfix recipients',
      '✗',
      /ecluse_destination_recipient_limit = 1000/,
      setMain('ecluse_destination_recipient_limit', '5000'),
    ],
    [
      'postfix restart',
      '!',
      /failed_cohort_limit = 10/,
      setMain('ecluse_destination_concurrency_failed_cohort_limit', '1'),
    ],
    // The front.
    [
      'postfix smuggling',
      '✗',
      /smtpd_forbid_bare_newline = normalize/,
      setMain('smtpd_forbid_bare_newline', 'no'),
    ],
    [
      'postfix pipelining',
      '!',
      /smtpd_forbid_unauth_pipelining = yes/,
      (files) => {
        setMain('smtpd_forbid_unauth_pipelining', 'no')(files)
        setMain('smtpd_data_restrictions', '')(files)
      },
    ],
    [
      'postfix stray line ends',
      '✗',
      /cleanup_replace_stray_cr_lf = yes/,
      setMain('cleanup_replace_stray_cr_lf', 'no'),
    ],
    [
      'postfix aliases',
      '!',
      /receive_override_options = no_address_mappings/,
      setMain('receive_override_options', ''),
    ],
    [
      'postfix aliases',
      '✗',
      /take no_address_mappings off/,
      replace('masterCf', '-o receive_override_options=', '-o receive_override_options=no_address_mappings,'),
    ],
    ['postfix warning', '!', /correct main\.cf/, setMain('ecluse_destination_concurency_limit', '20')],
    // Domains.
    [
      'postfix local domains',
      '✗',
      /correct localDomains/,
      replace('yaml', 'localDomains: [example.org', 'localDomains: [exmaple.org, example.org'),
    ],
    [
      'postfix other domains',
      '!',
      /localDomains: \[.*forgotten\.example/,
      setMain('virtual_mailbox_domains', 'forgotten.example, inline:{example.org=x}'),
    ],
    [
      'postfix local domains',
      '!',
      /postmap -q example\.edu proxy:unix:/,
      (files) => {
        setMain('virtual_mailbox_domains', 'proxy:unix:passwd.byname')(files)
        replace('yaml', 'localDomains: [', 'localDomains: [example.edu, ')(files)
      },
    ],
  ])('finds it: %s %s', async (check, level, cure, edit) => {
    const { code, rows } = await doctorAfter(edit)
    const found = rows.filter((row) => !isWell(row))
    expect(found).toEqual([
      {
        check,
        ok: level === '!',
        ...(level === '!' && { warning: true }),
        detail: expect.any(String),
        cure: expect.stringMatching(cure),
      },
    ])
    expect(code).toBe(level === '!' ? 0 : 1)
  })

  test('sends a message through all of it and sees it pass', async () => {
    const before = sink.messages.length
    const { code, rows } = await doctor(
      ecluse.configFile,
      postfix.configDirectory,
      '--probe',
      'someone@example.org',
    )
    expect(rows.filter((row) => !isWell(row))).toEqual([])
    expect(code).toBe(0)
    const told = new Map(rows.map(({ check, detail }) => [check, detail]))
    const [, queueId] = /queued as (\w+)$/.exec(told.get('probe front') ?? '') ?? []
    const line = await ecluse.waitForMessage((candidate) => candidate.queueId === queueId)
    expect(line).toMatchObject({ mailFrom: '', category: 'clean' })
    expect(told.get('probe filter')).toContain('ecluse_messages_total rose by 1')
    expect(told.get('probe back')).toContain('rose by 1')
    expect(told.get('probe log')).toMatch(
      `${queueId} went to 127.0.0.1[127.0.0.1]:${ecluse.lmtpPort}: sent (250 2.0.0 from MTA(`,
    )
    expect(told.get('probe delivery')).toContain(`:${sink.port}: sent (250`)
    const [mail] = (await sink.waitFor(before + 1)).slice(before)
    expect(mail?.data.toString('latin1')).toMatch(/^Message-ID: <doctor\.\w+@[^>]+>\r$/m)
  })
})
