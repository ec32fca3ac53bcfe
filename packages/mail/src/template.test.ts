import { expect, test } from '@jest/globals'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadNoticeTemplates } from './noticeTemplates.ts'
import { plainLine } from './plainLine.ts'
import { escapeHtml, readTemplate } from './template.ts'

const NAMES = new Set(['a', 'b', 'list'])
const read = (text: string) => readTemplate(text, { file: 'x.txt', line: 1 }, NAMES)

test.each([
  ['plain', 'plain'],
  ['{{a}}', '<A>'],
  ['{{#a}}[{{a}}]{{/a}}', '[<A>]'],
  ['{{#b}}[{{a}}]{{/b}}', ''],
  ['{{#list}}{{b}},{{/list}}', '1,2,'],
  ['{{#list}}{{a}}{{#b}}{{b}}{{/b}};{{/list}}', '<A>1;<A>2;'],
  ['{{list}}', ''],
  ['{a} }}', '{a} }}'],
])('%j becomes %j', (text, expected) => {
  const values = { a: '<A>', b: '', list: [{ b: '1' }, { b: '2' }] }
  expect(read(text).render(values, (value) => value)).toBe(expected)
})

test('values are escaped, and are no templates', () => {
  const values = { a: '<{{b}}>', b: 'x' }
  expect(read('<i>{{a}}</i>').render(values, escapeHtml)).toBe('<i>&lt;{{b}}&gt;</i>')
})

test.each([
  ['{{c}}', 'x.txt:1 {{c}}: unknown name (known: a, b, list)'],
  ['{{constructor}}', 'x.txt:1 {{constructor}}: unknown name (known: a, b, list)'],
  ['\n{{#a}}', 'x.txt:2 {{#a}} has no end (write {{/a}} behind it)'],
  ['{{/a}}', 'x.txt:1 {{/a}} ends no section (begin it with {{#a}})'],
  ['{{#a}}\n{{#b}}{{/a}}', 'x.txt:2 {{/a}} ends no section (begin it with {{#a}})'],
  ['x\n{{ a }}', 'x.txt:2 {{ begins no tag (write {{name}}, without spaces)'],
  ['{{a', 'x.txt:1 {{ begins no tag (write {{name}}, without spaces)'],
  ['{{#list}}{{#a}}{{#list}}', 'x.txt:1 {{#list}} stands in itself (remove it)'],
  ['x'.repeat(65_537), 'x.txt:1 expected at most 65536 characters (use a shorter text)'],
])('%j is an error', (text, expected) => {
  let told = ''
  try {
    read(text)
  } catch (error) {
    const { message, hint, place } = error as {
      message: string
      hint: string
      place: { file: string; line: number }
    }
    told = `${place.file}:${place.line} ${message} (${hint})`
  }
  expect(told).toBe(expected)
})

test('a text of one’s own takes the place of ours, the others stay; a wrong one says where', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'notices-'))
  try {
    writeFileSync(join(folder, 'admin.txt'), 'Subject: Mine {{viruses}}\n\nText\n')
    const { kinds } = await loadNoticeTemplates('en', folder)
    expect(kinds.admin.subject.render({ viruses: 'X' }, (value) => value)).toBe('Mine X')
    expect(kinds.dsn.text.render({ hostname: 'h' }, (value) => value)).toContain('mail system at h')
    for (const [text, message, line] of [
      ['Hello\n', 'expected a line "Subject: …", an empty line, and the text', 1],
      ['Subject: x {{virus}}\n\n', '{{virus}}: unknown name', 1],
      ['Subject: x\n\nText\n{{virus}}\n', '{{virus}}: unknown name', 4],
      [Buffer.from([0xff]), 'is not UTF-8', undefined],
    ] as const) {
      writeFileSync(join(folder, 'admin.txt'), text)
      const place = { file: join(folder, 'admin.txt'), ...(line !== undefined && { line }) }
      await expect(loadNoticeTemplates('en', folder)).rejects.toMatchObject({
        code: 'E_CONFIG',
        message,
        place,
      })
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a folder that is not there is an error: texts of one’s own are expected in it', async () => {
  await expect(loadNoticeTemplates('en', '/nonexistent/notices')).rejects.toMatchObject({
    code: 'E_CONFIG',
    message: 'notices.templates: /nonexistent/notices: ENOENT',
    hint: 'there is no such folder',
  })
})

test.each([
  ['  a  ', 'a'],
  ['a\r\n\tb', 'a b'],
  ['a\u202eb\u200bc', 'abc'],
  ['a\udc80b', 'a\ufffdb'],
  ['ftp://x', 'ftp[:]//x'],
  ['x'.repeat(11), `${'x'.repeat(9)}…`],
  ['😀'.repeat(11), `${'😀'.repeat(9)}…`],
])('%j is shown as %j', (text, shown) => {
  expect(plainLine(text, 10)).toBe(shown)
})
