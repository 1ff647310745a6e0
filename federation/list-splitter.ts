/**
 * Reads a large JSON object as it comes: the elements of some of its lists are cut out as texts, one by one, and only the
 * rest is parsed at the end. So an answer with a hundred thousand events never is one value, nor one long parse.
 */
import { badJson } from '../spec/errors.ts'
import { isObject, type JsonObject, parseJson } from '../spec/json.ts'

export const splitterLimits = {
  elements: 500_000,
  elementBytes: 1024 * 1024,
  restBytes: 16 * 1024 * 1024,
  depth: 200,
} as const

/** What a split object held. */
export interface SplitObject {
  /** The object with the lists emptied. */
  readonly rest: JsonObject
  /** Texts of the elements by the name of their list; a list that was not there is not here. */
  readonly lists: ReadonlyMap<string, readonly string[]>
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d

/** Cuts up what is there whole. */
export function splitText(text: string, names: readonly string[]): SplitObject {
  const splitter = new ListSplitter(names)
  splitter.push(Buffer.from(text))
  return splitter.end()
}

/** Cuts up one object; `push` its bytes in order, then `end`. Both throw MatrixError when it is none, or too large. */
export class ListSplitter {
  readonly #names: ReadonlySet<string>
  readonly #lists = new Map<string, string[]>()
  readonly #rest: Buffer[] = []
  #restBytes = 0
  #elements = 0
  /** Bytes that are looked at, from the beginning of what is not cut off yet. */
  #bytes: Buffer = Buffer.alloc(0)
  #at = 0
  #depth = 0
  /** Where the string begins that the scan is in; -1 outside of strings. */
  #string = -1
  /** The last string right in the object, and the one that a colon made a name. */
  #word = ''
  #name = ''
  #list: string[] | undefined

  constructor(names: readonly string[]) {
    this.#names = new Set(names)
  }

  push(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    while (this.#at < this.#bytes.length) {
      if (this.#string >= 0 ? !this.#endString() : !this.#step()) break
    }
    if (this.#list !== undefined) {
      if (this.#bytes.length > splitterLimits.elementBytes + chunk.length) throw tooLarge()
      return
    }
    this.#keep(this.#string >= 0 ? this.#string : this.#bytes.length)
    if (this.#bytes.length > splitterLimits.restBytes) throw tooLarge()
  }

  end(): SplitObject {
    if (this.#depth !== 0 || this.#string >= 0) throw badJson('body', 'must be whole')
    const rest = parseJson(Buffer.concat(this.#rest).toString('utf8'), {
      depthMax: splitterLimits.depth,
    })
    if (!isObject(rest)) throw badJson('body', 'must be an object')
    return { rest, lists: this.#lists }
  }

  /** Looks for the end of the string; false when it is not there yet. */
  #endString(): boolean {
    let end = this.#bytes.indexOf(quote, this.#at)
    while (end >= 0 && this.#isEscaped(end)) end = this.#bytes.indexOf(quote, end + 1)
    if (end < 0) {
      this.#at = this.#bytes.length
      return false
    }
    if (this.#depth === 1 && this.#list === undefined)
      this.#word = this.#bytes.toString('utf8', this.#string + 1, end)
    this.#string = -1
    this.#at = end + 1
    return true
  }

  #isEscaped(at: number): boolean {
    let first = at
    while (first - 1 > this.#string && this.#bytes[first - 1] === backslash) first--
    return (at - first) % 2 === 1
  }

  #step(): boolean {
    const byte = this.#bytes[this.#at]
    if (byte === quote) this.#string = this.#at
    else if (byte === openBrace || byte === openBracket) this.#enter(byte)
    else if (byte === closeBrace || byte === closeBracket) this.#leave()
    else if (byte === comma && this.#isBetween()) this.#cut(this.#at)
    else if (byte === colon && this.#depth === 1) this.#name = this.#word
    this.#at++
    return true
  }

  /** Between two elements of a list that is cut up. */
  #isBetween(): boolean {
    return this.#list !== undefined && this.#depth === 2
  }

  #enter(byte: number): void {
    if (++this.#depth > splitterLimits.depth) throw badJson('body', 'nested too deep')
    if (this.#depth !== 2 || byte !== openBracket || !this.#names.has(this.#name)) return
    this.#at++
    this.#keep(this.#at)
    this.#at--
    this.#list = []
    this.#lists.set(this.#name, this.#list)
  }

  #leave(): void {
    if (this.#isBetween()) {
      this.#cut(this.#at)
      // The bracket itself belongs to the rest.
      this.#drop(this.#at)
      this.#list = undefined
    }
    this.#depth--
  }

  /** Takes the element that ends here. */
  #cut(end: number): void {
    if (end > splitterLimits.elementBytes) throw tooLarge()
    const start = this.#bytes[0] === comma ? 1 : 0
    const text = this.#bytes.toString('utf8', start, end).trim()
    if (text !== '') {
      if (++this.#elements > splitterLimits.elements) throw tooLarge()
      this.#list?.push(text)
    }
    this.#drop(end)
  }

  /** Moves bytes to the rest. */
  #keep(end: number): void {
    if (end <= 0) return
    this.#rest.push(Buffer.from(this.#bytes.subarray(0, end)))
    this.#restBytes += end
    if (this.#restBytes > splitterLimits.restBytes) throw tooLarge()
    this.#drop(end)
  }

  #drop(count: number): void {
    this.#bytes = this.#bytes.subarray(count)
    this.#at -= count
    if (this.#string >= 0) this.#string -= count
  }
}

function tooLarge() {
  return badJson('body', 'too large')
}
