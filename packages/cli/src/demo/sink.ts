import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Address, type Envelope, type SmtpReply } from '@ecluse/core'
import { createReceiver, type BodySink, type Receiver } from '@ecluse/mail'
import { REFUSED_ADDRESS } from '@ecluse/fixtures/samples'

/** One message that came out of the filter. */
interface Arrival {
  readonly queueId: string
  readonly recipients: readonly string[]
  readonly file: string
  readonly bytes: Buffer
}

/** Stands where Postfix takes mail back: writes every message to a file, delivers nothing. */
export interface Sink {
  readonly address: Address
  readonly arrivals: readonly Arrival[]
  close(): Promise<void>
}

/** Listens on the wanted address, or on a free port where that is taken. The folder is emptied first. */
export async function startSink(wanted: Address, folder: string, hostname: string): Promise<Sink> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const arrivals: Arrival[] = []
  const handler = {
    acceptRecipient: ({ address }: { readonly address: string }): SmtpReply | undefined =>
      address === REFUSED_ADDRESS
        ? { code: 550, enhanced: '5.1.1', text: `<${address}>: Recipient address rejected: User unknown` }
        : undefined,
    begin: (envelope: Envelope): BodySink => {
      const chunks: Buffer[] = []
      return {
        write: (chunk) => {
          chunks.push(chunk)
          return undefined
        },
        end: async () => {
          const queueId = `DEMO${String(arrivals.length + 1).padStart(6, '0')}`
          const file = join(folder, `${queueId}.eml`)
          const bytes = Buffer.concat(chunks)
          arrivals.push({
            queueId,
            recipients: envelope.recipients.map(({ address }) => address),
            file,
            bytes,
          })
          await writeFile(file, bytes)
          return [{ code: 250, enhanced: '2.0.0', text: `Ok: queued as ${queueId}` }]
        },
        abort: () => undefined,
      }
    },
  }
  const listen = (address: Address): Promise<Receiver> =>
    createReceiver(
      {
        protocol: 'smtp',
        address,
        hostname,
        trust: ['127.0.0.0/8', '::1/128'],
        messageSizeBytes: 100 * 1024 ** 2,
        recipients: 1000,
        connections: 100,
        idleMs: 300_000,
      },
      handler,
      () => undefined,
    )
  const receiver = await firstFree(listen, wanted)
  return {
    address: receiver.address,
    arrivals,
    close: () => receiver.close(AbortSignal.timeout(1000)),
  }
}

/** Listens on the wanted address, or, where that is taken, on a port that the system chooses. */
export async function firstFree<T>(listen: (address: Address) => Promise<T>, wanted: Address): Promise<T> {
  try {
    return await listen(wanted)
  } catch (error) {
    if (!isTaken(error) || 'path' in wanted) throw error
    return await listen({ host: wanted.host, port: 0 })
  }
}

function isTaken(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown } }
  return cause?.code === 'EADDRINUSE'
}
