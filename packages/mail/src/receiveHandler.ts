import type { Envelope, FilterError, Recipient, SmtpReply } from '@ecluse/core'
import type { Lateness } from './receivePace.ts'

/** Takes the body of one message. */
export interface BodySink {
  /**
   * Takes a chunk of the body: dots unstuffed, everything else as it came, the final CRLF included; the buffer is not
   * reused. A promise: the next chunk waits for it. A rejection or a throw aborts the sink and becomes 451.
   */
  write(chunk: Buffer): Promise<void> | undefined
  /** The final dot was seen. LMTP: one reply for each recipient, in order; SMTP: exactly one. Never rejects. */
  end(): Promise<readonly SmtpReply[]>
  /** No dot will come, or none that counts (client gone, size exceeded, shutdown, idle): free everything. */
  abort(error: FilterError): void
}

/** What is known of a message at MAIL. */
export interface MailRequest {
  /** IP address; absent on a Unix socket. */
  readonly peer?: string
  /** RFC 1870; absent: none was given. */
  readonly declaredBytes?: number
}

/** Decides what is received. A throw of any of these is answered with 451 and told to the log. */
export interface ReceiveHandler {
  /** Asked at MAIL: a reply refuses the transaction early (not ready, overload, shutting down). */
  admit?(request: MailRequest): SmtpReply | undefined
  /** Asked at each RCPT: a reply refuses that recipient. */
  acceptRecipient?(recipient: Recipient): SmtpReply | undefined
  /** Called at DATA, with at least one accepted recipient; a reply refuses DATA, which ends the transaction. */
  begin(envelope: Envelope): BodySink | SmtpReply
}

/** What happens to connections and is worth a line; `peer` is an IP address or `unix`. Nothing about single messages. */
export type ReceiverEvent =
  /** The peer is in none of the trusted networks. */
  | { readonly event: 'untrusted'; readonly peer: string }
  /**
   * All `connections` are taken, or those that are left are kept for other addresses. Told at once, then once a second:
   * `count` is how many were refused since, `peer` the last of them.
   */
  | { readonly event: 'crowded'; readonly peer: string; readonly count: number }
  /** The connection was closed to make room: no message came on it for a while. */
  | { readonly event: 'unused'; readonly peer: string }
  /** The connection was closed: the client was too slow. */
  | { readonly event: 'slow'; readonly peer: string; readonly what: Lateness }
  /**
   * A connection of a proxy was closed: it did not begin with a header of the PROXY protocol, or the header did not
   * come in time. `peer` is the proxy.
   */
  | { readonly event: 'proxy'; readonly peer: string; readonly what: 'malformed' | 'late' }
  /** STARTTLS failed, or the client's certificate was not accepted. */
  | { readonly event: 'tls'; readonly peer: string; readonly cause: unknown }
  /** The connection was closed: too many errors in a row, or a browser. */
  | { readonly event: 'abuse'; readonly peer: string; readonly what: 'errors' | 'http' }
  /** Our handler threw, rejected, or gave replies that do not fit; the client got 451. */
  | { readonly event: 'bug'; readonly peer: string; readonly cause: unknown }
  /** The listener cannot accept a connection, such as EMFILE; it goes on. */
  | { readonly event: 'listener'; readonly cause: unknown }
