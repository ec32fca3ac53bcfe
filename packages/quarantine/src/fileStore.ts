import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { open, rename, rm, unlink } from 'node:fs/promises'
import { failpoint, FilterError } from '@ecluse/core'
import { createCatalogue } from './catalogue.ts'
import { addEvent, readEvents, removeEvents } from './eventFiles.ts'
import { applyEvents, isDeletedForAll, type QuarantineEvent } from './events.ts'
import { expireFiles } from './fileExpiry.ts'
import { listFiles } from './fileList.ts'
import { createTotals, statsOf } from './fileTotals.ts'
import { readFields, type ReadFields } from './fields.ts'
import type { FileStoreParts } from './fileParts.ts'
import { withLock } from './fileLock.ts'
import { createFolders, type StoredFile } from './folders.ts'
import { openMessage, readFront, writeMessage, type ToKeep } from './messageFile.ts'
import { canPack, type Packing } from './packing.ts'
import type { QuarantineEntry } from './record.ts'
import type { QuarantinedMessage, QuarantineStore } from './store.ts'
import { checkId, codeOf, notWhole, unknownId, within } from './storeError.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants

/** How a file store keeps messages. */
export interface FileStoreOptions {
  /** Of new messages; those that are there are read however they are packed. Absent: none. */
  readonly compress?: Packing
}

/**
 * Keeps each message in a file `X/CATEGORY-ID.eml`, X being the first character of the id; what happens to it later in
 * files `X/ID.N.event`. Names are made of our own id and category only. Files have mode 0600, folders 0700; no symbolic
 * link below `directory` is followed. Any number of processes may share the folder.
 *
 * @throws FilterError E_QUARANTINE when this Node.js cannot compress so.
 */
export function createFileStore(
  directory: string,
  { compress: packing = 'none' }: FileStoreOptions = {},
): QuarantineStore {
  if (!canPack(packing)) {
    throw new FilterError('E_QUARANTINE', `${packing}: this Node.js has none`, {
      hint: 'Node.js 22.15, or gzip',
    })
  }
  const folders = createFolders(directory)
  const parts: FileStoreParts = { directory, folders, catalogue: createCatalogue(folders), packing }
  const totals = createTotals(parts)
  const cannotList = `${directory}: cannot be listed`
  return {
    prepare: () => within(`${directory}: cannot be used`, () => folders.prepare()),
    check: () => within(`${directory}: cannot be used`, () => folders.check()),
    put: (record, message, signal) =>
      within(`${record.id}: cannot be kept in ${directory}`, async () => {
        try {
          await put(parts, { record, message }, signal)
        } catch (err) {
          if (codeOf(err) !== 'ENOENT') throw err
          // A folder that was there is gone: a disk was mounted over it, or all was cleared away.
          folders.forget()
          await put(parts, { record, message }, signal)
        }
      }),
    list: (filter = {}, page = {}) => listFiles(parts, filter, page),
    get: async (id) => (await find(parts, id)).entry,
    open: (id) => openOriginal(parts, id),
    delete: (id, recipients) =>
      within(`${id}: cannot be deleted`, () =>
        recipients === undefined ? remove(parts, id) : removeFor(parts, id, recipients),
      ),
    markReleased: (id, release) =>
      within(`${id}: cannot be marked as released`, async () => {
        await change(parts, id, { event: 'released', release })
      }),
    markInfected: (id, infection) =>
      within(`${id}: cannot be marked as infected`, async () => {
        await change(parts, id, { event: 'infected', ...infection })
      }),
    stats: (filter = {}) => within(cannotList, () => statsOf(parts, filter)),
    usage: () => within(`${directory}: cannot be counted`, () => totals.usage()),
    expire: (retention, work) =>
      within(`${directory}: cannot be tidied up`, () => expireFiles(parts, retention, work)),
    alone: async (name, work) => {
      const path = await within(`${directory}: cannot be used`, () => folders.lockPath(name))
      return await withLock(path, work)
    },
    rebuild: (onDamaged) => within(cannotList, () => rebuild(parts, onDamaged)),
    close: () => parts.catalogue.close(),
  }
}

async function put(
  { folders, catalogue, packing }: FileStoreParts,
  keep: ToKeep,
  signal: AbortSignal,
): Promise<void> {
  const { record, message } = keep
  const { id, category } = record
  checkId(id)
  // One that came before `compress` was changed is none of a message that is on its way.
  const kept = await folders.find(id, [...new Set<Packing>(['none', packing])])
  if (kept !== undefined) {
    const { entry } = await readFront(kept)
    if (entry.digest !== message.digest) {
      throw new FilterError('E_QUARANTINE', `${id}: another message is kept under this id`)
    }
    // Whoever wrote it may have been killed between the rename and this.
    await folders.sync(id)
    return
  }
  const place = await folders.place(id, { category, packing })
  const temp = await folders.tempPath(`${id}.${randomBytes(6).toString('hex')}`)
  const file = await open(temp, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600)
  let written
  try {
    written = await writeMessage(file, { ...keep, packing }, signal)
    failpoint('K11-quarantine-written')
    await rename(temp, place)
  } catch (err) {
    // Nobody sees a temporary file: one that cannot be removed now is removed by prepare().
    await rm(temp, { force: true }).catch(() => undefined)
    throw err
  }
  failpoint('K12-quarantine-renamed')
  await folders.sync(id)
  const fields = readFields(written.fields)
  if (typeof fields !== 'number') catalogue.add(fields.entry, { events: 0, fileBytes: written.fileBytes })
}

/** A message with what has happened to it. */
interface Found extends ReadFields {
  readonly file: StoredFile
  readonly events: number
}

async function find({ folders }: FileStoreParts, id: string): Promise<Found> {
  return await within(`${id}: cannot be read`, async () => {
    checkId(id)
    const file = await folders.find(id)
    if (file === undefined) throw unknownId(id)
    const fields = await readFront(file)
    const events = await readEvents(folders, id)
    return { ...fields, entry: applyEvents(fields.entry, events.known), file, events: events.count }
  })
}

async function openOriginal(parts: FileStoreParts, id: string): Promise<QuarantinedMessage> {
  const found = await find(parts, id)
  const { entry, headerBytes, file } = found
  const { sizeBytes } = entry
  if (file.packing === 'none' && file.sizeBytes !== headerBytes + sizeBytes) throw notWhole(id)
  return { entry, sizeBytes, open: () => openMessage(file, found) }
}

/** The entry as it is then. */
async function change(parts: FileStoreParts, id: string, event: QuarantineEvent): Promise<QuarantineEntry> {
  await find(parts, id)
  await addEvent(parts.folders, id, event)
  const { entry, events, file } = await find(parts, id)
  parts.catalogue.add(entry, { events, fileBytes: file.sizeBytes })
  return entry
}

async function removeFor(parts: FileStoreParts, id: string, recipients: readonly string[]): Promise<void> {
  const entry = await change(parts, id, { event: 'deleted', at: new Date(), recipients })
  if (isDeletedForAll(entry)) await remove(parts, id)
}

async function remove({ folders }: FileStoreParts, id: string): Promise<void> {
  checkId(id)
  const file = await folders.find(id)
  if (file === undefined) throw unknownId(id)
  await unlink(file.path)
  await removeEvents(folders, id)
  await folders.sync(id)
}

async function rebuild(
  parts: FileStoreParts,
  onDamaged: ((error: unknown) => void) | undefined,
): Promise<{ files: number; bytes: number }> {
  const { folders, catalogue } = parts
  const total = { files: 0, bytes: 0 }
  for (const shard of await folders.shards()) {
    await rm(folders.indexPath(shard), { force: true })
    await catalogue.walkShard(shard, {
      show: ({ row }) => {
        total.files++
        total.bytes += row.fileBytes
      },
      onDamaged,
    })
  }
  return total
}
