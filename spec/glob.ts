/** How a glob is compared. */
export interface GlobOptions {
  readonly ignoreCase?: boolean
}

/**
 * Does the whole text match the glob: `*` stands for any characters, `?` for exactly one, everything else for itself.
 * No regular expression is made from the glob, and no glob takes more than |glob| × |text| steps.
 * {@link https://spec.matrix.org/v1.19/appendices/#glob-style-matching}
 */
export function matchesGlob(glob: string, text: string, options: GlobOptions = {}): boolean {
  return compileGlob(glob, options)(text)
}

/** The test of one glob, for many texts. */
export function compileGlob(glob: string, options: GlobOptions = {}): (text: string) => boolean {
  const fold = options.ignoreCase ? (text: string) => text.toLowerCase() : (text: string) => text
  const parts = fold(glob).split('*').map(partOf)
  const [first, ...others] = parts
  const last = others.pop()
  if (!first) return () => false
  if (!last) return (text) => lengthAt(first, fold(text), 0) === fold(text).length
  return (text) => matchesParts(first, others, last, fold(text))
}

/** A stretch of the glob between two stars; with question marks it is compared character by character. */
interface Part {
  readonly text: string
  readonly chars: readonly string[] | undefined
}

function partOf(text: string): Part {
  return { text, chars: text.includes('?') ? Array.from(text) : undefined }
}

/** The first part is bound to the start and the last to the end; each other takes the leftmost place that is left. */
function matchesParts(first: Part, others: readonly Part[], last: Part, text: string): boolean {
  const head = lengthAt(first, text, 0)
  const tail = lengthAtEnd(last, text)
  if (head === undefined || tail === undefined) return false
  const end = text.length - tail
  let at = head
  for (const part of others) {
    const next = endOfFirst(part, text, at)
    if (next === undefined) return false
    at = next
  }
  return at <= end
}

/** Where the leftmost occurrence from `start` on ends. */
function endOfFirst(part: Part, text: string, start: number): number | undefined {
  if (!part.chars) {
    const found = text.indexOf(part.text, start)
    return found === -1 ? undefined : found + part.text.length
  }
  for (let at = start; at <= text.length; at++) {
    const length = isInsidePair(text, at) ? undefined : lengthAt(part, text, at)
    if (length !== undefined) return at + length
  }
  return undefined
}

/** How much of the text the part covers from `start` on; undefined when it does not match there. */
function lengthAt({ text: wanted, chars }: Part, text: string, start: number): number | undefined {
  if (!chars) return text.startsWith(wanted, start) ? wanted.length : undefined
  let at = start
  for (const char of chars) {
    if (at >= text.length) return undefined
    if (char === '?') at += isInsidePair(text, at + 1) ? 2 : 1
    else if (text.startsWith(char, at)) at += char.length
    else return undefined
  }
  return at - start
}

/** How much of the text's end the part covers. */
function lengthAtEnd({ text: wanted, chars }: Part, text: string): number | undefined {
  if (!chars) return text.endsWith(wanted) ? wanted.length : undefined
  let at = text.length
  for (const char of chars.toReversed()) {
    if (at <= 0) return undefined
    if (char === '?') at -= isInsidePair(text, at - 1) ? 2 : 1
    else if (text.endsWith(char, at)) at -= char.length
    else return undefined
  }
  return text.length - at
}

/** Does a surrogate pair lie across this index. */
function isInsidePair(text: string, at: number): boolean {
  const before = text.charCodeAt(at - 1)
  const after = text.charCodeAt(at)
  return before >= 0xd800 && before <= 0xdbff && after >= 0xdc00 && after <= 0xdfff
}
