import { buffer } from 'node:stream/consumers'
import type { DeliveryResult } from '@ecluse/core'
import type { ReleaseGate } from '../src/releaseMessage.ts'

type Request = Parameters<ReleaseGate['deliver']>[0]

const MTA = 'smtp:[127.0.0.1]:10025'

/** Takes the message for everybody but those whose address begins with one of `refused`. */
export class FakeGate implements ReleaseGate {
  readonly requests: (Request & { readonly bytes: string })[] = []
  readonly #refused: readonly string[]

  constructor(...refused: readonly string[]) {
    this.#refused = refused
  }

  async deliver(request: Request): Promise<DeliveryResult[]> {
    this.requests.push({ ...request, bytes: (await buffer(request.message.open())).toString('latin1') })
    return request.recipients.map((recipient): DeliveryResult => {
      if (this.#refused.some((start) => recipient.address.startsWith(start))) {
        return { recipient, outcome: 'refused', mta: MTA, stage: 'rcpt', line: '550 5.1.1 no' }
      }
      return { recipient, outcome: 'relayed', mta: MTA, line: '250 2.0.0 Ok: queued as X' }
    })
  }
}
