/**
 * The parts of the kit, in the order of the report. Each: name, title, isUsual (run when nothing is named), run(kit,
 * options, say) gives rows with `wrong`, a list of what is not as expected; text(kit, rows) is Markdown for people.
 * A further part is one file like these and one line here.
 */
import { cluster } from './cluster.js'
import { disk } from './disk.js'
import { lostReplies } from './lostReplies.js'
import { matrix } from './matrix.js'
import { mixed } from './mixed.js'
import { reinject } from './reinject.js'
import { scanners } from './scanners.js'
import { slow } from './slow.js'
import { soak } from './soak.js'

export const sections = [matrix, lostReplies, scanners, reinject, disk, soak, cluster, mixed, slow]
