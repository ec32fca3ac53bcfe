import type { Category, Destiny, NoticeLanguage } from '@ecluse/core'

/** What is told of a recipient, in the words of each language. */
export interface NoticeWords {
  readonly categories: Readonly<Record<Category, string>>
  readonly destinies: Readonly<Record<Destiny, string>>
  /** Where there is nothing to tell. */
  readonly unknown: string
  readonly noSubject: string
  /** Sizes. */
  readonly kibibytes: string
}

export const NOTICE_WORDS: Readonly<Record<NoticeLanguage, NoticeWords>> = {
  en: {
    categories: {
      virus: 'virus',
      banned: 'forbidden attachment',
      unchecked: 'could not be checked',
      spam: 'spam',
      spammy: 'probably spam',
      'bad-header': 'malformed header',
      oversized: 'too large',
      clean: 'clean',
    },
    destinies: {
      pass: 'delivered',
      discard: 'not delivered',
      reject: 'refused',
      bounce: 'refused',
      tempfail: 'deferred',
    },
    unknown: 'unknown',
    noSubject: '(no subject)',
    kibibytes: 'KiB',
  },
  fr: {
    categories: {
      virus: 'virus',
      banned: 'pièce jointe interdite',
      unchecked: 'n’a pas pu être vérifié',
      spam: 'pourriel',
      spammy: 'probablement un pourriel',
      'bad-header': 'en-tête mal formé',
      oversized: 'trop volumineux',
      clean: 'sain',
    },
    destinies: {
      pass: 'distribué',
      discard: 'non distribué',
      reject: 'refusé',
      bounce: 'refusé',
      tempfail: 'différé',
    },
    unknown: 'inconnu',
    noSubject: '(sans objet)',
    kibibytes: 'Kio',
  },
}
