import { buffer } from 'node:stream/consumers'
import type { Release } from '../src/record.ts'
import type { QuarantineFilter, QuarantinePage, QuarantineStore } from '../src/store.ts'

/** The store that a test is about. */
export interface Current {
  readonly store: () => QuarantineStore
  /** Another process; whoever opens it closes it. */
  readonly other: () => QuarantineStore
}

export const never = new AbortController().signal
export const MAIL = 'From: a@x\r\nSubject: =?utf-8?q?F=C3=AAte?=\r\n\r\nbody\n.\r\n\0\xff'
export const DAY_MS = 24 * 3600 * 1000
export const day = (date: number): Date => new Date(Date.UTC(2026, 10, date))
export const numbered = (index: number): string => `${'AbZ0_-'[index % 6]}${String(index).padStart(11, '0')}`

export const release = (overrides: Partial<Release> = {}): Release => ({
  at: day(25),
  by: 'root',
  to: ['anna@example.org'],
  as: 'plain',
  ...overrides,
})

export async function listed(
  store: QuarantineStore,
  filter?: QuarantineFilter,
  page?: QuarantinePage,
): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of store.list(filter, page)) ids.push(id)
  return ids
}

export async function original(store: QuarantineStore, id: string): Promise<Buffer> {
  return await buffer((await store.open(id)).open())
}
