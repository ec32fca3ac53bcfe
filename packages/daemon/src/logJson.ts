import pino from 'pino'
import { describeError, type LevelledLog, type LogFields, type LogLevel, type LogTarget } from './log.ts'
import type { MessageRecord } from './record.ts'

/** One JSON object a line. */
export function jsonLog(level: LogLevel, target: LogTarget): LevelledLog {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    { write: (line) => target.write(escapeInvisible(line)) },
  )
  return {
    error: (fields, message) => logger.error(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    info: (fields, message) => logger.info(fields, message),
    debug: (fields, message) => logger.debug(fields, message),
    message: (record) => logger.info(messageEvent(record)),
    setLevel(next) {
      logger.level = next
    },
  }
}

/** The fields of the contract, in its order, and what is there to ask further with. */
function messageEvent(record: MessageRecord): LogFields {
  const { envelope } = record
  return {
    event: 'message',
    id: record.id,
    queueId: envelope.client.queueId,
    client: envelope.client.address,
    helo: envelope.client.helo,
    mailFrom: envelope.mailFrom,
    size: record.sizeBytes,
    digest: record.digest,
    category: record.category,
    scanners: record.scanners,
    recipients: record.recipients.map(
      ({ address, category, destiny, suppressed, score, reply, queuedAs, replayed }) => ({
        address,
        category,
        destiny,
        suppressed,
        score,
        reply,
        queuedAs,
        replayed,
      }),
    ),
    quarantineId: record.quarantineId,
    direction: record.direction,
    ms: Math.round(record.totalMs * 10) / 10,
    contentDigest: record.contentDigest,
  }
}

// JSON lets these stand in a string, but a terminal obeys some, and some readers take others for the end of a line.
const INVISIBLE = /[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

function escapeInvisible(line: string): string {
  return line.replace(INVISIBLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
