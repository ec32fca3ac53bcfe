import { parse } from '@swc/core'

/** More than all files have; fixtures/src/fuzz/branches.ts looks at each of them after each input. */
const counters = 8192
/** In one line, so that no line of the source moves. */
const declaration = `const $b = (globalThis.$ecluseBranches ??= new Uint8Array(${counters}));`

/**
 * TypeScript with a counter in each branch: blocks, cases, arms of conditions, right sides of `&&`, `||` and `??`, and
 * the bodies of arrow functions. Lines stay where they are.
 *
 * @param first number of the first counter; `next`, that of the first of the next file
 */
export async function countBranches(text, first) {
  // Positions of swc count bytes, from a place that the first statement tells.
  const source = Buffer.from(`0;${text}`)
  const tree = await parse(source.toString(), { syntax: 'typescript', target: 'es2022' })
  const base = tree.body[0].span.start
  const edits = []
  let next = first
  const count = () => `$b[${next++ % counters}]++`
  const insert = (at, what) => edits.push({ at: at - base, what })
  const inParentheses = (node) => {
    insert(node.span.start, `(${count()}, `)
    insert(node.span.end, ')')
  }
  const inBraces = (node) => {
    if (!node || node.type === 'BlockStatement' || node.type === 'IfStatement') return
    insert(node.span.start, `{${count()};`)
    insert(node.span.end, '}')
  }
  const atStart = (node) => insert(node.span.start + 1, `${count()};`)
  const visitors = {
    BlockStatement: atStart,
    FunctionBody: atStart,
    ConditionalExpression: (node) => [node.consequent, node.alternate].forEach(inParentheses),
    BinaryExpression: (node) => ['&&', '||', '??'].includes(node.operator) && inParentheses(node.right),
    ArrowFunctionExpression: (node) => node.body.type !== 'FunctionBody' && inParentheses(node.body),
    IfStatement: (node) => [node.consequent, node.alternate].forEach(inBraces),
    SwitchCase: (node) => node.consequent[0] && insert(node.consequent[0].span.start, `${count()};`),
    ForStatement: (node) => inBraces(node.body),
    ForOfStatement: (node) => inBraces(node.body),
    WhileStatement: (node) => inBraces(node.body),
  }
  walk(tree, visitors)
  return { text: declaration + applied(source, edits).slice(2), next }
}

/** Parents before what is in them: what they open stands before what that opens. */
function walk(node, visitors) {
  if (Array.isArray(node)) {
    for (const each of node) walk(each, visitors)
  } else if (typeof node === 'object' && node !== null) {
    if (node.span) visitors[node.type]?.(node)
    for (const each of Object.values(node)) walk(each, visitors)
  }
}

/** At one place, what closes comes before what opens, and of what closes the inner one first. */
function applied(source, edits) {
  const closes = ({ what }) => what === ')' || what === '}'
  const ordered = edits
    .map((edit, order) => ({ ...edit, order }))
    .sort((a, b) => {
      if (a.at !== b.at) return a.at - b.at
      if (closes(a) !== closes(b)) return closes(a) ? -1 : 1
      return closes(a) ? b.order - a.order : a.order - b.order
    })
  let text = ''
  let done = 0
  for (const { at, what } of ordered) {
    text += source.toString('utf8', done, at) + what
    done = at
  }
  return text + source.toString('utf8', done)
}
