import { startFakeRedis, type FakeRedis, type RedisWords } from '@ecluse/fixtures'
import type { RedisOptions } from '../src/redisOptions.ts'
import { openRedisLink, type RedisChange, type RedisLink } from '../src/redisLink.ts'

type Limits = NonNullable<Parameters<typeof openRedisLink>[2]>

/** A link, and what it told. */
export interface LinkUnderTest {
  readonly link: RedisLink
  readonly changes: RedisChange[]
}

/** Fakes and links of one test. */
export class RedisKit {
  readonly #opened: { close(): unknown }[] = []

  async fake(replyTo?: (words: RedisWords) => string | undefined): Promise<FakeRedis> {
    return this.own(await startFakeRedis(replyTo))
  }

  /** Patient, unless told otherwise: on a busy machine an answer takes its time. */
  link(where: number | Partial<RedisOptions>, limits: Limits = {}): LinkUnderTest {
    const changes: RedisChange[] = []
    const link = openRedisLink(
      {
        place: {
          kind: 'standalone',
          address: { host: '127.0.0.1', port: typeof where === 'number' ? where : 0 },
        },
        prefix: 'test',
        timeoutMs: 20_000,
        ...(typeof where === 'object' && where),
      },
      (change) => changes.push(change),
      limits,
    )
    return { link: this.own(link), changes }
  }

  /** Connected. */
  async connected(where: number | Partial<RedisOptions>, limits?: Limits): Promise<LinkUnderTest> {
    const made = this.link(where, limits)
    await made.link.opened()
    return made
  }

  own<T extends { close(): unknown }>(what: T): T {
    this.#opened.push(what)
    return what
  }

  async closeAll(): Promise<void> {
    for (const each of this.#opened.splice(0).toReversed()) await each.close()
  }
}

/** Without sleeping; a hang is Jest's affair. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setImmediate(resolve))
}

/** Where a fake or a private Redis listens. */
export function at(port: number): Pick<RedisOptions, 'place'> {
  return { place: { kind: 'standalone', address: { host: '127.0.0.1', port } } }
}
