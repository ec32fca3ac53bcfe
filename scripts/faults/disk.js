import { attempt, offText, outcome, table, tell } from './table.js'

/** Each folder with each error of a disk. */
export const disk = {
  name: 'disk',
  title: 'Disk',
  async run(kit, { runs }, say) {
    const rows = []
    for (const fault of kit.DISK_FAULTS) {
      // Each waits some 20 s for the next look at the folders: together.
      const found = await Promise.all(
        kit.DISK_FOLDERS.map(async (folder) => {
          const row = await attempt({ folder, fault }, async () => await kit.runDiskRow(folder, fault, runs))
          tell(say, `${folder} ${fault}`, row)
          return row
        }),
      )
      rows.push(...found)
    }
    return rows
  },
  text(kit, rows) {
    const head = ['folder', 'error', 'made by', 'messages', 'replies: expected', 'found', 'to other mail']
    head.push('/readyz', 'once in the end', 'result')
    return [
      'Three recipients for each message. First what needs the folder: mail above `spool.memoryBytes`, mail to be ' +
        'kept, any mail. Then mail that does not. Then the disk is well, without a restart, and all of it comes again.',
      offText(rows),
      table(
        head,
        rows.map((row) => {
          const { folder, fault, by = '–', messages = '–', expected = '–', found = '–', others } = row
          const told = row.told?.replace(/^folders: (\w+): .*: (\w+)$/, '503, $1: $2') ?? '–'
          const once = row.once === undefined ? '–' : `${row.once} of ${row.recipients}`
          return [folder, fault, by, messages, expected, found, others || '–', told, once, outcome(row)]
        }),
      ),
    ].join('\n\n')
  },
}
