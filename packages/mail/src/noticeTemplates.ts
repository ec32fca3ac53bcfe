import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FilterError, type NoticeLanguage } from '@ecluse/core'
import { readTemplate, type Template } from './template.ts'

/** What a notice is about, and the name of its files: `admin.txt`, `admin.html`. */
export const NOTICE_TEXTS = ['admin', 'recipients', 'sender', 'dsn'] as const
export type NoticeTextKind = (typeof NOTICE_TEXTS)[number]

/** The texts of one kind. */
interface NoticeTemplate {
  readonly subject: Template
  readonly text: Template
  /** Absent: the notice is plain text only. */
  readonly html?: Template
}

/** The texts of all kinds. */
export interface NoticeTemplates {
  readonly language: NoticeLanguage
  readonly kinds: Readonly<Record<NoticeTextKind, NoticeTemplate>>
}

const OF_MESSAGES = [
  'hostname',
  'contact',
  'to',
  'count',
  'more',
  'items',
  'id',
  'kept',
  'release',
  'links',
  'noLinks',
  'date',
  'from',
  'subject',
  'client',
  'queueId',
  'viruses',
  'recipients',
  'address',
  'reason',
  'category',
  'size',
] as const

const NAMES: ReadonlySet<string> = new Set(OF_MESSAGES)
const OURS = new URL('../templates/', import.meta.url)

/**
 * Reads the texts of a language.
 *
 * @param folder texts of one's own: a file that is there takes the place of ours
 * @throws FilterError E_CONFIG, for a folder that cannot be read; with its place, for a file that cannot be used
 */
export async function loadNoticeTemplates(
  language: NoticeLanguage,
  folder?: string,
): Promise<NoticeTemplates> {
  if (folder !== undefined) await readable(folder, async () => await readdir(folder))
  const kinds = await Promise.all(
    NOTICE_TEXTS.map(async (kind) => [kind, await loadKind(kind, language, folder)] as const),
  )
  return { language, kinds: Object.fromEntries(kinds) as NoticeTemplates['kinds'] }
}

async function loadKind(
  kind: NoticeTextKind,
  language: NoticeLanguage,
  folder: string | undefined,
): Promise<NoticeTemplate> {
  const { text, where } = await readOne(`${kind}.txt`, language, folder)
  const [, subject = '', body = ''] = /^Subject: ([^\r\n]{1,200})\r?\n\r?\n([^]*)$/.exec(text) ?? []
  if (subject === '') {
    throw new FilterError('E_CONFIG', 'expected a line "Subject: …", an empty line, and the text', {
      hint: 'see the texts in packages/mail/templates',
      place: { file: where, line: 1 },
    })
  }
  const plain = {
    subject: readTemplate(subject, { file: where, line: 1 }, NAMES),
    text: readTemplate(body, { file: where, line: 3 }, NAMES),
  }
  if (kind === 'dsn') return plain
  const html = await readOne(`${kind}.html`, language, folder)
  return { ...plain, html: readTemplate(html.text, { file: html.where, line: 1 }, NAMES) }
}

async function readOne(
  name: string,
  language: NoticeLanguage,
  folder: string | undefined,
): Promise<{ readonly text: string; readonly where: string }> {
  if (folder !== undefined) {
    const where = join(folder, name)
    const own = await readable(where, async () => {
      try {
        return await readFile(where)
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw cause
      }
    })
    if (own) return { text: decode(own, where), where }
  }
  const ours = new URL(`${language}/${name}`, OURS)
  return { text: await readFile(ours, 'utf8'), where: ours.pathname }
}

/** @throws FilterError E_CONFIG where `read` does */
async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (cause) {
    const { code = 'failed' } = cause as NodeJS.ErrnoException
    const hint =
      code === 'ENOENT' ? 'there is no such folder' : 'the user that Écluse runs as must be able to read it'
    throw new FilterError('E_CONFIG', `notices.templates: ${path}: ${code}`, { cause, hint })
  }
}

function decode(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FilterError('E_CONFIG', 'is not UTF-8', { cause, hint: 'save it as UTF-8', place: { file } })
  }
}
