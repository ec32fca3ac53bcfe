import type { PostgresService } from '@ecluse/fixtures'
import type { PostgresOptions } from '../src/postgresLink.ts'

/** How a private PostgreSQL is spoken to, from the URL of one of its databases. */
export function at(url: string, overrides: Partial<PostgresOptions> = {}): PostgresOptions {
  const { hostname, port, username, password, pathname } = new URL(url)
  return {
    host: hostname,
    port: Number(port),
    user: username,
    password,
    database: pathname.slice(1),
    connections: 4,
    timeoutMs: 30_000,
    ...overrides,
  }
}

/** Removes all messages of a database whose tables are there. */
export async function emptyDatabase(postgres: PostgresService, url: string): Promise<void> {
  await postgres.sql('truncate ecluse_message, ecluse_total cascade', url)
}
