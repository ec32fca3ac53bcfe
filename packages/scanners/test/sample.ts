import type { Envelope, Message, ScanRequest } from '@ecluse/core'

/** An envelope with everything that scanners are told of. */
export const envelope: Envelope = {
  protocol: 'lmtp',
  mailFrom: 'bob@example.com',
  recipients: [{ address: 'a@example.org' }, { address: '"b c"@example.org' }],
  smtpUtf8: false,
  client: { address: '192.0.2.1', name: 'client.example', helo: 'helo.example', queueId: '4Vx1y2z3' },
  peer: { helo: 'mx.example' },
  listener: '127.0.0.1:10024',
}

/** A request to scan that message. */
export function request(message: Message, changes: Partial<Envelope> = {}): ScanRequest {
  return { message, envelope: { ...envelope, ...changes }, hostname: 'mx.example' }
}
