import type { NoticeLanguage } from '@ecluse/core'
import type { Told } from './desk.ts'

/** What the pages say. */
export interface PageWords {
  readonly pages: Readonly<Record<Told['what'], { readonly title: string; readonly text: string }>>
  readonly button: string
  readonly from: string
  readonly subject: string
  readonly date: string
  readonly why: string
  /** Whom to ask, with the id of the message. */
  readonly ask: (contact: string, id: string) => string
}

export const PAGE_WORDS: Readonly<Record<NoticeLanguage, PageWords>> = {
  en: {
    pages: {
      offer: {
        title: 'A message is kept for you',
        text: 'The mail server did not deliver this message. Release it only if you know the sender and expect it: then it comes to your mailbox.',
      },
      released: { title: 'Released', text: 'The message is on its way to your mailbox.' },
      before: { title: 'Released already', text: 'This message was released to you before.' },
      closed: { title: 'Not to be released here', text: 'Only an administrator can release this message.' },
      later: {
        title: 'Not now',
        text: 'The message could not be delivered now. It is still kept: try again later.',
      },
      unknown: {
        title: 'No such message',
        text: 'This link is not right, or its message is no longer kept. Use the link as it stands in the mail, or ask your mail administrator.',
      },
    },
    button: 'Release this message',
    from: 'From',
    subject: 'Subject',
    date: 'Date',
    why: 'Why',
    ask: (contact, id) => `Ask ${contact}, and tell the id ${id}.`,
  },
  fr: {
    pages: {
      offer: {
        title: 'Un message est conservé pour vous',
        text: 'Le serveur de courrier n’a pas distribué ce message. Libérez-le seulement si vous connaissez l’expéditeur et l’attendez : il arrivera dans votre boîte.',
      },
      released: { title: 'Libéré', text: 'Le message est en route vers votre boîte.' },
      before: { title: 'Déjà libéré', text: 'Ce message vous a déjà été libéré.' },
      closed: {
        title: 'Ne peut pas être libéré ici',
        text: 'Seul un administrateur peut libérer ce message.',
      },
      later: {
        title: 'Pas maintenant',
        text: 'Le message n’a pas pu être distribué. Il reste conservé : réessayez plus tard.',
      },
      unknown: {
        title: 'Message introuvable',
        text: 'Ce lien n’est pas exact, ou son message n’est plus conservé. Utilisez le lien tel qu’il est dans le courrier, ou demandez à votre administrateur.',
      },
    },
    button: 'Libérer ce message',
    from: 'De',
    subject: 'Objet',
    date: 'Date',
    why: 'Raison',
    ask: (contact, id) => `Demandez à ${contact} en indiquant l’identifiant ${id}.`,
  },
}
