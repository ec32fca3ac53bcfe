/**
 * The messages that are sent: made by code, the same in every run, and each copy different from all others, in its
 * header, its text and its attachment: nobody, no cache of a scanner either, has seen it before.
 */

/** Stands where the number of the copy goes; these are letters of base64 as well. */
const slot = 'COPYNUMBER00'

/** A small generator of pseudo-random numbers in [0, 1): the same messages in every run. */
function seeded(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const words = (
  'the of and to in for that with as was by this from are which order meeting invoice report attached please ' +
  'regards project customer delivery budget plan review tomorrow office number schedule question answer contract ' +
  'department weather holiday garden language music history water river lock canal boat harbour engine paper'
).split(' ')

function sentence(random) {
  const count = 6 + Math.floor(random() * 12)
  const chosen = Array.from({ length: count }, () => words[Math.floor(random() * words.length)])
  const text = chosen.join(' ')
  return `${text[0].toUpperCase()}${text.slice(1)}.`
}

/** Lines of at most 76 characters, about `length` bytes. */
function prose(random, length) {
  let text = ''
  while (text.length < length) text += `${sentence(random)} `
  return (text.match(/.{1,76}(?: |$)/g) ?? []).map((line) => line.trimEnd()).join('\r\n')
}

function base64Lines(random, length) {
  const bytes = Buffer.from(
    Array.from({ length: Math.floor(length * 0.74) }, () => Math.floor(random() * 256)),
  )
  const text = slot + bytes.toString('base64')
  return (text.match(/.{1,76}/g) ?? []).join('\r\n')
}

function header(random, contentType) {
  return [
    `Received: from client.example.com (client.example.com [192.0.2.7]) by mail.example.org`,
    `\twith ESMTP id ${slot}; Mon, 6 Jan 2025 10:00:00 +0000 (UTC)`,
    `Date: Mon, 6 Jan 2025 10:00:00 +0000`,
    `From: A Sender <sender@example.com>`,
    `To: A Recipient <recipient@example.org>`,
    `Message-ID: <${slot}.${Math.floor(random() * 1e9)}@example.com>`,
    `Subject: ${sentence(random)}`,
    `MIME-Version: 1.0`,
    `Content-Type: ${contentType}`,
  ].join('\r\n')
}

function textMessage(random, size) {
  const head = header(random, 'text/plain; charset=us-ascii')
  return `${head}\r\n\r\nReference ${slot}\r\n${prose(random, size - head.length)}\r\n`
}

function htmlMessage(random, size) {
  const boundary = `=_alternative_${Math.floor(random() * 1e9)}`
  const head = header(random, `multipart/alternative; boundary="${boundary}"`)
  const half = Math.max(100, (size - head.length - 300) / 2)
  const paragraphs = prose(random, half).replaceAll('. ', '.</p>\r\n<p>')
  return (
    `${head}\r\n\r\n--${boundary}\r\nContent-Type: text/plain\r\n\r\nReference ${slot}\r\n${prose(random, half)}\r\n` +
    `--${boundary}\r\nContent-Type: text/html\r\n\r\n<html><body><p>${slot}</p><p>${paragraphs}</p></body></html>\r\n` +
    `--${boundary}--\r\n`
  )
}

function attachmentMessage(random, size) {
  const boundary = `=_mixed_${Math.floor(random() * 1e9)}`
  const head = header(random, `multipart/mixed; boundary="${boundary}"`)
  const text = Math.min(800, size / 4)
  const name = `report-${Math.floor(random() * 1e6)}.bin`
  return (
    `${head}\r\n\r\n--${boundary}\r\nContent-Type: text/plain\r\n\r\nReference ${slot}\r\n${prose(random, text)}\r\n` +
    `--${boundary}\r\nContent-Type: application/octet-stream; name="${name}"\r\n` +
    `Content-Disposition: attachment; filename="${name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n` +
    `${base64Lines(random, Math.max(200, size - text - head.length - 350))}\r\n--${boundary}--\r\n`
  )
}

/** In pieces, so that this file is neither. */
const eicar = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}', '$EICAR-STANDARD-', 'ANTIVIRUS-TEST-FILE!', '$H+H*'].join('')
const gtube = ['XJS*C4JDBQADN1.NSBN3*2IDNEN', '*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL', '*C.34X'].join('')

/** Where the copy's number goes, and the bytes up to the last such place apart from the rest, which is shared. */
function template(text) {
  const bytes = Buffer.from(text, 'latin1')
  const places = []
  for (let at = bytes.indexOf(slot); at >= 0; at = bytes.indexOf(slot, at + slot.length)) places.push(at)
  const end = places.at(-1) + slot.length
  return { head: bytes.subarray(0, end), tail: bytes.subarray(end), places }
}

const kinds = {
  /** 60 messages: text, HTML and attachments, 1 to 13 kB, 3.7 kB on average: what a server sees most. */
  mixed() {
    const random = seeded(20250106)
    const make = [textMessage, htmlMessage, attachmentMessage]
    // Few are large: the third power of a number below 1 is mostly small.
    return Array.from({ length: 60 }, (_, index) => make[index % 3](random, 1_150 + 12_200 * random() ** 3))
  },
  /** One text message of 2 kB. */
  small: () => [textMessage(seeded(2), 2_048)],
  /** Two of them, in turn: a memory of one forgets each before it comes again. */
  pair: () => [textMessage(seeded(2), 2_048), textMessage(seeded(5), 2_048)],
  /** What a list sends to all of its readers: text and HTML, 10 kB. */
  newsletter: () => [htmlMessage(seeded(20), 10_000)],
  /** Messages of 50 kB with an attachment. */
  medium() {
    const random = seeded(50)
    return Array.from({ length: 10 }, () => attachmentMessage(random, 50_000))
  },
  /** What a filter with the scanner does not pass: the EICAR test file, and GTUBE of SpamAssassin. */
  virus: () => [`${textMessage(seeded(3), 1_000)}${eicar}\r\n`],
  spam: () => [`${textMessage(seeded(4), 1_000)}${gtube}\r\n`],
  /** One message of 10 MB with an attachment. */
  large: () => [attachmentMessage(seeded(10), 10_000_000)],
}

/**
 * Gives the pieces of message `number` of a kind, one after the other to be sent: lines end with CRLF, none begins
 * with a dot. Copies of different numbers differ; `again`, a share from 0 to 1: of so many only the Received field
 * differs from that of other copies, in all runs that give the same `name`, of `slot`'s length.
 */
export function messageMaker(kind, again = 0, sameName = 'THESAMECOPY0') {
  const templates = kinds[kind]().map(template)
  // Another run of the bench, and another process of it, must not send the same copies.
  const run = Math.floor(Math.random() * 36 ** 5)
    .toString(36)
    .padStart(5, '0')
  return (number) => {
    const { head, tail, places } = templates[number % templates.length]
    const copy = Buffer.from(head)
    const name = `${run}${number.toString().padStart(slot.length - run.length, '0')}`
    const known = number % 100 < again * 100
    places.forEach((place, index) => {
      copy.write(known && index > 0 ? sameName : name, place, 'latin1')
    })
    // Small ones go out as one piece; a copy of megabytes would cost more than what is measured.
    return tail.length < 100_000 ? [Buffer.concat([copy, tail])] : [copy, tail]
  }
}
