import { randomBytes } from 'node:crypto'
import type { Postgres } from './postgresLink.ts'

/** No work under a lease takes so long: its holder is gone. */
const ABANDONED = '10 minutes'

/**
 * Works while it has the lease of that name. It is a row and no lock of the server: no connection is held meanwhile, and
 * one that is lost does not end it.
 *
 * @returns absent: somebody else has it, and nothing was done
 * @throws FilterError E_QUARANTINE; what `work` throws
 */
export async function withLease<T>(
  postgres: Postgres,
  name: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const holder = randomBytes(12).toString('base64url')
  const taken = await postgres.transaction({
    run: async (session) =>
      await session.change(
        `insert into ecluse_lease (name, holder, until) values ($1, $2, now() + $3::interval)
         on conflict (name) do update set holder = excluded.holder, until = excluded.until
         where ecluse_lease.until < now()`,
        [name, holder, ABANDONED],
      ),
  })
  if (taken === 0) return undefined
  try {
    return await work()
  } finally {
    await giveBack(postgres, name, holder)
  }
}

/** What cannot be given back now ends by itself. */
async function giveBack(postgres: Postgres, name: string, holder: string): Promise<void> {
  try {
    await postgres.transaction({
      run: async (session) =>
        await session.change('delete from ecluse_lease where name = $1 and holder = $2', [name, holder]),
    })
  } catch {
    // The server is gone: what was done is done.
  }
}
