/**
 * Characters that may be compared for one user and one event; patterns left over then match nothing. Real rules stay
 * far below it: it holds thousands of patterns against a long message.
 */
export const comparisonsMax = 8_000_000

/** How much of the comparisons is spent. */
export interface Budget {
  spent: number
}

/** A pattern for words in a text: the stretches between its stars. */
export type WordPattern = readonly string[]

/** Prepares a glob for `matchesWords`; the glob is in lower case already. */
export function wordPatternOf(glob: string): WordPattern {
  return glob.split('*')
}

/**
 * Does the glob match a substring that starts and ends at word boundaries: at the ends of the text, or beside a
 * character other than letters, digits and `_` of ASCII. Both are in lower case.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#conditions-1}
 */
export function matchesWords(pattern: WordPattern, text: string, budget: Budget): boolean {
  const last = pattern.length - 1
  let at = 0
  for (const [index, part] of pattern.entries()) {
    // What stars lie around is free to begin or end anywhere; where the text begins and ends are boundaries.
    const bound = { start: index === 0 && part !== '', end: index === last && part !== '' }
    const end = findPart(part, text, at, bound, budget)
    if (end === undefined) return false
    at = end
  }
  return true
}

/** Does the text contain the word, which is taken as it is, between word boundaries. Both are in lower case. */
export function containsWord(word: string, text: string, budget: Budget): boolean {
  return findText(word, text, 0, { start: true, end: true }, budget) !== undefined
}

interface Bound {
  readonly start: boolean
  readonly end: boolean
}

/** Where the leftmost occurrence that keeps the bounds ends; the same for `findText`, which knows no question marks. */
function findPart(
  part: string,
  text: string,
  from: number,
  bound: Bound,
  budget: Budget,
): number | undefined {
  if (!part.includes('?')) return findText(part, text, from, bound, budget)
  for (let at = from; at + part.length <= text.length; at++) {
    if (budget.spent > comparisonsMax) return undefined
    if (bound.start && !isBoundary(text, at)) continue
    const end = endOfMatch(part, text, at, budget)
    if (end !== undefined && (!bound.end || isBoundary(text, end))) return end
  }
  return undefined
}

function findText(
  part: string,
  text: string,
  from: number,
  bound: Bound,
  budget: Budget,
): number | undefined {
  for (let at = from; at <= text.length; at++) {
    if (budget.spent > comparisonsMax) return undefined
    const found = text.indexOf(part, at)
    budget.spent += (found === -1 ? text.length : found) - at + part.length + 1
    if (found === -1) return undefined
    at = found
    const end = at + part.length
    if ((!bound.start || isBoundary(text, at)) && (!bound.end || isBoundary(text, end))) return end
  }
  return undefined
}

/** Where the part ends that begins at `start`; a question mark takes a whole character, also one of two units. */
function endOfMatch(part: string, text: string, start: number, budget: Budget): number | undefined {
  let at = start
  for (let index = 0; index < part.length; index++) {
    budget.spent += 1
    const char = part.charAt(index)
    if (at >= text.length) return undefined
    if (char === '?') at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1
    else if (char === text.charAt(at)) at += 1
    else return undefined
  }
  return at
}

function isBoundary(text: string, at: number): boolean {
  return !(isWordCharacter(text.charCodeAt(at - 1)) && isWordCharacter(text.charCodeAt(at)))
}

/** `[A-Za-z0-9_]`; NaN, beyond the ends, is none. */
function isWordCharacter(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x30 && code <= 0x39) ||
    code === 0x5f
  )
}
