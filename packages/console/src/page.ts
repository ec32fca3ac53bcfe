import { createHash } from 'node:crypto'
import type { NoticeLanguage } from '@ecluse/core'
import { escapeHtml, NOTICE_WORDS, plainLine } from '@ecluse/mail'
import type { Releasable } from '@ecluse/quarantine'
import type { Shown, Told } from './desk.ts'
import { PAGE_WORDS } from './pageWords.ts'

/** How pages are written. */
export interface PageStyle {
  readonly language: NoticeLanguage
  /** Whom to ask. */
  readonly contact: string
}

/** A page, ready to be sent. */
export interface Page {
  readonly status: number
  readonly html: string
}

const STYLE =
  'body{margin:0;padding:16px;background:#f4f5f7;color:#1f2430;font:15px/1.5 Arial,sans-serif}' +
  'main{max-width:640px;margin:0 auto;padding:24px;border:1px solid #d9dce1;background:#fff;overflow-wrap:anywhere}' +
  'h1{margin:0 0 12px;font-size:20px}dl{border-top:1px solid #d9dce1;padding-top:12px}dt{color:#667}dd{margin:0 0 8px}' +
  'button{padding:8px 16px;font:inherit}'

/**
 * What every answer has: nothing is fetched or run, nothing but our own form is sent and only to us, the page is in no
 * frame, and its address, which holds a secret, goes nowhere.
 */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; " +
    `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; ` +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-robots-tag': 'noindex',
}

const STATUS: Readonly<Record<Told['what'], number>> = {
  offer: 200,
  released: 200,
  before: 200,
  closed: 403,
  later: 503,
  unknown: 404,
}

/**
 * The page for what a recipient is told; without script, and with everything that a stranger wrote escaped and on one
 * line. That of `unknown` is the same bytes for everybody.
 *
 * @param about absent: of no message
 */
export function pageOf({ language, contact }: PageStyle, told: Told, about?: Releasable): Page {
  const words = PAGE_WORDS[language]
  const { title, text } = words.pages[told.what]
  const known = told.what === 'unknown' ? undefined : about
  const pieces = [
    `<h1>${escapeHtml(title)}</h1>`,
    ...(known ? [`<p>&lt;${shownText(known.recipient)}&gt;</p>`] : []),
    `<p>${escapeHtml(text)}</p>`,
    ...(told.what === 'offer' ? offerOf(told.shown, language) : []),
    ...(known && (told.what === 'closed' || told.what === 'later')
      ? [`<p>${escapeHtml(words.ask(contact, known.id))}</p>`]
      : []),
  ]
  const html =
    `<!doctype html>\n<html lang="${language}"><head><meta charset="utf-8">` +
    '<meta name="viewport" content="width=device-width">' +
    `<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>\n` +
    `<body><main>\n${pieces.join('\n')}\n</main></body></html>\n`
  return { status: STATUS[told.what], html }
}

/** The form has no action: it is sent to the address of the page, whatever stands before it at the proxy. */
function offerOf({ mailFrom, subject, storedAt, category }: Shown, language: NoticeLanguage): string[] {
  const words = PAGE_WORDS[language]
  const of = NOTICE_WORDS[language]
  const rows = [
    [words.from, `&lt;${shownText(mailFrom)}&gt;`],
    [words.subject, shownText(subject ?? of.noSubject)],
    [words.date, storedAt.toISOString().replace('T', ' ').replace(/\..*$/, ' UTC')],
    [words.why, escapeHtml(of.categories[category])],
  ]
  return [
    `<dl>${rows.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('')}</dl>`,
    `<form method="post"><button type="submit">${escapeHtml(words.button)}</button></form>`,
  ]
}

function shownText(text: string): string {
  return escapeHtml(plainLine(text))
}
