import { describe, expect, test } from '@jest/globals'
import { ORDINARY, warningsOf } from '../test/warnings.ts'

describe('of the entries of a list', () => {
  const recipients = (entries: string): string =>
    `policies: [{ name: a, when: { recipients: [${entries}] }, policy: { killLevel: 9 } }]\n`
  const clients = (entries: string): string =>
    `policies: [{ name: a, when: { clients: [${entries}] }, policy: { killLevel: 9 } }]\n`
  const AT = 'policies[0].when.'

  test.each([
    [
      recipients("'!a@x', '!b@x'"),
      `4:43: ${AT}recipients: all entries begin with !: nobody is in this list (add what they are exceptions of, such as .)`,
    ],
    [
      clients("'!10.0.0.0/8'"),
      `4:40: ${AT}clients: all entries begin with !: nobody is in this list (add what they are exceptions of, such as .)`,
    ],
    [recipients('a@x, b@x, A@x'), `4:54: ${AT}recipients[2]: A@x changes nothing beside a@x (remove it)`],
    [
      recipients("a@x, '!a@x'"),
      `4:49: ${AT}recipients[1]: !a@x never counts: a@x says the opposite (keep one of them)`,
    ],
    [recipients('a@x, .x'), `4:44: ${AT}recipients[0]: a@x changes nothing beside .x (remove it)`],
    [
      recipients("a@x, '!b@y'"),
      `4:49: ${AT}recipients[1]: !b@y changes nothing: no entry here lets in what it takes out (remove it, or add the broader entry)`,
    ],
    [
      clients('10.0.0.0/8, 10.1.0.0/16'),
      `4:53: ${AT}clients[1]: 10.1.0.0/16 changes nothing beside 10.0.0.0/8 (remove it)`,
    ],
    [
      recipients('news-*@example.org'),
      `4:44: ${AT}recipients[0]: news-*@example.org is one address with a star in it: there are no wildcards (write a regular expression)`,
    ],
    [
      recipients('192.0.2.1'),
      `4:44: ${AT}recipients[0]: 192.0.2.1 is a domain of that name: no mail has it (write [192.0.2.1], or use clients)`,
    ],
  ])('%j', async (source, expected) => {
    expect(await warningsOf(`${ORDINARY}${source}`)).toEqual([expected])
  })

  test('is told with the line of its file', async () => {
    const list = '# all\n.x\n\na@x # Anna\n'
    expect(await warningsOf(`${ORDINARY}${recipients("'file:list'")}`, list)).toEqual([
      'list:4: a@x changes nothing beside .x of line 2 (remove it)',
    ])
  })

  test('is told once for each list, at most four times', async () => {
    const list = Array.from({ length: 100 }, (_, index) => `a${index}@x\n`).join('')
    const rules = `policies:
  - { name: a, when: { recipients: ['file:list'] }, policy: { killLevel: 9 } }
  - { name: b, when: { recipients: ['file:list'], originating: true }, policy: { killLevel: 8 } }\n`
    const told = await warningsOf(`${ORDINARY}${rules}`, `.x\n${list}`)
    expect(told).toHaveLength(4)
    expect(told.at(-1)).toBe(
      'list:5: a3@x changes nothing beside .x of line 1; and 96 more of the kind (remove it)',
    )
  })

  test('is none of an empty file, nor of one that is named twice', async () => {
    expect(await warningsOf(`${ORDINARY}${recipients("'file:list'")}`, '')).toEqual([])
    expect(await warningsOf(`${ORDINARY}${recipients("'file:list', 'file:list'")}`, 'a@x\n')).toEqual([])
  })
})

test('ten thousand policies, and thirty thousand entries, are looked at once', async () => {
  // Each policy overwritten by the last one of its two conditions, each sender by the last rule: pair by pair, minutes.
  const policies = Array.from(
    { length: 10_000 },
    (_, index) =>
      `- {name: p${index},when: {originating: true,senders: [s${index % 5000}@x]},policy: {killLevel: ${index}}}\n`,
  )
  const source = `${ORDINARY}policies:\n${policies.join('')}senders:\n- {action: block,senders: ['file:list']}\n`
  const entries = Array.from({ length: 30_000 }, (_, index) => `user${index}@a${index % 1000}.example\n`)
  const told = await warningsOf(source, `${entries.join('')}.example\n`)
  expect(told.filter((line) => line.includes('nothing is left of it'))).toHaveLength(21)
  expect(told).toContainEqual(expect.stringContaining('; and 4979 more of the kind'))
  expect(told).toContainEqual(expect.stringContaining('; and 29996 more of the kind'))
})
