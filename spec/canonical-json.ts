import { badJson } from './errors.ts'
import type { Json, JsonObject } from './json.ts'

/**
 * The one byte sequence of a JSON value: keys in the order of their code points, no white space, integers only.
 * {@link https://spec.matrix.org/v1.19/appendices/#canonical-json}
 * @NOTE Recursive: the value's nesting must have been bounded by `parseJson` or a schema.
 * @throws MatrixError M_BAD_JSON on a float, an integer beyond ±(2^53-1), a lone surrogate, or what is not JSON.
 */
export function canonicalJson(value: Json): string {
  return (isOrdered(value) ? native(value) : undefined) ?? serialize(value, strictNumber)
}

/**
 * Canonical JSON of room versions 1–5, where numbers are not checked: floats and large integers are written as
 * JavaScript writes them.
 * {@link https://spec.matrix.org/v1.19/rooms/v1/#canonical-json}
 * @throws MatrixError M_BAD_JSON on a lone surrogate, NaN, Infinity, or what is not JSON.
 */
export function lenientCanonicalJson(value: Json): string {
  return serialize(value, lenientNumber)
}

/** Orders strings by code point, which differs from `<` where one has surrogates and the other U+E000–U+FFFF. */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : isSurrogate(x) ? 1 : -1
  }
  return a.length - b.length
}

/** Is every object's key order that of UTF-16 units and every number an integer in range. */
function isOrdered(value: Json | undefined): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isSafeInteger(value)
    case 'object':
      if (value === null) return true
      return isArray(value) ? value.every(isOrdered) : isOrderedObject(value)
    default:
      return false
  }
}

function isOrderedObject(obj: JsonObject): boolean {
  let previous = ''
  for (const key in obj) {
    if (key < previous) return false
    previous = key
    if (!isOrdered(obj[key])) return false
  }
  return true
}

/**
 * The engine's own serializer, which is faster, writes the same bytes for a value in order, but for lone
 * surrogates (which it escapes); and beyond U+D800 the order of UTF-16 units is not the one we want.
 */
function native(value: Json): string | undefined {
  const text = JSON.stringify(value)
  return text.includes('\\ud') || /[\ud800-\uffff]/.test(text) ? undefined : text
}

type NumberWriter = (value: number) => string

function serialize(value: Json | undefined, number: NumberWriter): string {
  switch (typeof value) {
    case 'string':
      return quoted(value)
    case 'number':
      return number(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      if (value === null) return 'null'
      return isArray(value) ? serializeArray(value, number) : serializeObject(value, number)
    default:
      throw badJson('canonical json', `${typeof value} is not JSON`)
  }
}

function serializeArray(values: readonly Json[], number: NumberWriter): string {
  let text = '['
  for (const value of values) {
    if (text !== '[') text += ','
    text += serialize(value, number)
  }
  return `${text}]`
}

function serializeObject(obj: JsonObject, number: NumberWriter): string {
  let text = '{'
  for (const key of sortedKeys(obj)) {
    if (text !== '{') text += ','
    text += `${quoted(key)}:${serialize(obj[key], number)}`
  }
  return `${text}}`
}

/** The object's keys in canonical order. */
export function sortedKeys(obj: JsonObject): string[] {
  const keys = Object.keys(obj).sort()
  return keys.some(hasSurrogate) ? keys.sort(compareCodePoints) : keys
}

function hasSurrogate(text: string): boolean {
  return /[\ud800-\udfff]/.test(text)
}

function quoted(text: string): string {
  if (/^[ !#-[\]-~]*$/.test(text)) return `"${text}"`
  if (/\p{Surrogate}/u.test(text)) {
    throw badJson('canonical json', 'a lone surrogate is not a character')
  }
  return JSON.stringify(text)
}

function strictNumber(value: number): string {
  if (Number.isSafeInteger(value)) return String(value)
  throw badJson('canonical json', `${value} is not an integer within ±(2^53-1)`)
}

function lenientNumber(value: number): string {
  if (Number.isFinite(value)) return String(value)
  throw badJson('canonical json', `${value} is not a number of JSON`)
}

function isSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdfff
}

/** `Array.isArray` narrows a readonly array badly. */
function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
