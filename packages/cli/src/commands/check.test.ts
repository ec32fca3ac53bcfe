import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { SAMPLE_KINDS } from '../../test/sampleKinds.ts'
import { runCommand } from '../run.ts'
import { check } from './check.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ecluse-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const MAIN = `mydestination = mail.example.org, localhost
myhostname = mail.example.org
relay_domains = example.org
content_filter = ecluse:[127.0.0.1]:10024
mail_version = 3.7.11`

const MASTER = `smtp inet n - y - - smtpd
ecluse unix - - n - 20 lmtp
127.0.0.1:10025 inet n - n - - smtpd`

/** A postconf that prints these. */
function writePostconf(overrides: string): void {
  const program = path.join(folder, 'postconf')
  const print = (text: string): string => `printf '%s\\n' '${text}'`
  const script = `case "$3" in -M) ${print(MASTER)};; -xP) ${print(overrides)};; *) ${print(MAIN)};; esac`
  writeFileSync(program, `#!/bin/sh\n${script}\n`)
  chmodSync(program, 0o755)
}

async function run(source: string, ...more: string[]): Promise<{ code: number; lines: string[] }> {
  const file = path.join(folder, 'ecluse.yaml')
  writeFileSync(file, source)
  const lines: string[] = []
  const tell = (text: string): void => void lines.push(text.trimEnd().replaceAll(folder, 'FOLDER'))
  const code = await runCommand(['check', '--config', file, ...more], {
    kinds: SAMPLE_KINDS,
    env: { PATH: folder },
    hostname: 'mail.example.org',
    version: '0',
    commands: [check],
    out: tell,
    complain: tell,
  })
  return { code, lines }
}

const ORDINARY = 'scanners: [{ kind: clamd }]\nquarantine: { keep: 30d }\n'

test('what Postfix does not know, or does not wait for, is told where it is asked for', async () => {
  writePostconf('ecluse/unix/lmtp_data_done_timeout = 200s')
  const source = `localDomains: [example.org, strange.example]\n${ORDINARY}`
  const { code, lines } = await run(source, '--postfix', folder)
  expect(code).toBe(0)
  expect(lines.filter((line) => /domains|timeout/.test(line))).toEqual([
    'warning: FOLDER: postfix feed timeout: lmtp_data_done_timeout is 200s, limits.deadline 300s: Postfix gives up first, and sends the message again (give "ecluse" in master.cf: -o lmtp_data_done_timeout=1200s)',
    'warning: FOLDER: postfix local domains: strange.example in localDomains: Postfix does not take mail for it (mydestination, virtual_*_domains, relay_domains) (correct localDomains, or add the domain to the list in main.cf that it belongs to)',
  ])
  expect(lines.at(-1)).toBe('FOLDER/ecluse.yaml: well')
})

test('Postfix is not asked without', async () => {
  writePostconf('')
  const { code, lines } = await run(`localDomains: [strange.example]\n${ORDINARY}`)
  expect({ code, lines }).toEqual({ code: 0, lines: ['FOLDER/ecluse.yaml: well'] })
})

test('a relative folder is refused', async () => {
  const { code, lines } = await run(`localDomains: [example.org]\n${ORDINARY}`, '--postfix', 'etc')
  expect(code).toBe(2)
  expect(lines).toEqual([
    'check: --postfix: expected an absolute path (name the folder of main.cf: --postfix /etc/postfix)',
  ])
})
