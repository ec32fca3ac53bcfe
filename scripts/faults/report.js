/** The result for people, as Markdown: a chapter for each section, which says itself when and where it was run. */

const title = '# Faults'
const preface = 'Written by `npm run faults`, each chapter by its own run.'

/** `results`: section, rows, minutes, load. */
export function chapters(kit, results, { machine, system, programs, commit }) {
  return new Map(
    results.map(({ section, rows, minutes, load }) => {
      const about = [machine, system, programs, commit && `commit ${commit}`, `${minutes} minutes`, load]
      const run = `_${about.filter(Boolean).join('; ')}_`
      return [section.title, `## ${section.title}\n\n${run}\n\n${section.text(kit, rows)}\n`]
    }),
  )
}

/** `before`: an earlier report, of which the chapters stay that are not there anew; in the order of `titles`. */
export function report(titles, fresh, before = '') {
  const old = new Map(
    before
      .split(/^(?=## )/m)
      .slice(1)
      .map((chapter) => [/^## (.*)$/m.exec(chapter)[1], `${chapter.trimEnd()}\n`]),
  )
  const texts = titles.map((name) => fresh.get(name) ?? old.get(name)).filter((text) => text !== undefined)
  return [title, preface, ...texts].join('\n\n').replace(/\n{3,}/g, '\n\n')
}
