/** RFC 3461 section 4.1. NEVER stands alone. */
export const NOTIFY_VALUES = ['NEVER', 'SUCCESS', 'FAILURE', 'DELAY'] as const
export type Notify = (typeof NOTIFY_VALUES)[number]

/**
 * One RCPT TO of the transaction, as Postfix sent it. Recipients are told apart by identity, not by address:
 * Postfix may name the same address twice and waits for two replies (RFC 2033 section 4.2).
 */
export interface Recipient {
  /**
   * RFC 5321 forward-path without the angle brackets, every byte kept: quoting, case, A-labels. UTF-8 is decoded;
   * a byte that is not UTF-8 stands as U+DC00 + byte, and goes out again as that byte.
   */
  readonly address: string
  /** RFC 3461 section 4.2, `addr-type;xtext` as received; absent: none was given. */
  readonly orcpt?: string
  /** RFC 3461 section 4.1; absent: none was given. */
  readonly notify?: readonly Notify[]
}

/**
 * The SMTP client that gave the message to Postfix, from XFORWARD, decoded from xtext. Absent fields are unknown,
 * also those that Postfix gave as [UNAVAILABLE]; they are never filled in from the session.
 */
export interface Client {
  /** XFORWARD ADDR: IPv4 or IPv6, without the `IPv6:` prefix. */
  readonly address?: string
  /** XFORWARD PORT. */
  readonly port?: number
  readonly name?: string
  readonly helo?: string
  /** XFORWARD PROTO: SMTP or ESMTP. */
  readonly protocol?: string
  /** XFORWARD IDENT: Postfix's queue id, so that both logs can be joined. */
  readonly queueId?: string
  readonly source?: 'LOCAL' | 'REMOTE'
}

/** LMTP (RFC 2033) has a reply for each recipient, SMTP (RFC 5321) one for all. */
export type MailProtocol = 'lmtp' | 'smtp'

/** Everything the dialogue said before DATA. */
export interface Envelope {
  readonly protocol: MailProtocol
  /** RFC 5321 reverse-path without the angle brackets, bytes kept as in {@link Recipient}; '' is the null sender. */
  readonly mailFrom: string
  /** In RCPT TO order, accepted ones only: replies go out in this order (RFC 2033 section 4.2). */
  readonly recipients: readonly Recipient[]
  /** RFC 6531 section 3.4. */
  readonly smtpUtf8: boolean
  /** RFC 6152; absent: none was given. */
  readonly body?: '7BIT' | '8BITMIME'
  /** RFC 3461 section 4.3; absent: none was given. */
  readonly ret?: 'FULL' | 'HDRS'
  /** RFC 3461 section 4.4, xtext as received; absent: none was given. */
  readonly envid?: string
  /** RFC 1870, as declared; absent: none was given. */
  readonly declaredBytes?: number
  readonly client: Client
  /** Who speaks to us: Postfix. */
  readonly peer: {
    /** IP address; absent on a Unix socket. */
    readonly address?: string
    readonly port?: number
    /** The LHLO, EHLO or HELO argument. */
    readonly helo: string
    /** TLS protocol and cipher; absent: no TLS. */
    readonly tls?: string
  }
  /** Where it came in: `host:port` or `unix:PATH` from the configuration. */
  readonly listener: string
}
