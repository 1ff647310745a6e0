import { badJson, MatrixError } from './errors.ts'

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
/** A JSON object; the shape in which every Matrix body and event arrives. */
export type JsonObject = { readonly [key: string]: Json }

/** Is the value an object and neither null nor an array. Says nothing about what is in it. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What `parseJson` lets through. */
export interface JsonLimits {
  /** Deepest nesting of arrays and objects; a bare value has depth 0. */
  readonly depthMax: number
  /**
   * What becomes of `1.0` and `1e2`, which JavaScript cannot tell from `1` and `100` afterwards. 'keep' reads them as
   * the integer; 'poison' reads them as Infinity, which `canonicalJson` refuses, so that one event in a
   * transaction can be refused for it without the others.
   */
  readonly integralFloats?: 'keep' | 'poison'
}

/**
 * Parses JSON from a stranger.
 * @throws MatrixError M_NOT_JSON when it is not JSON, M_BAD_JSON when it is nested deeper than `limits.depthMax`.
 */
export function parseJson(text: string, limits: JsonLimits): Json {
  const { depth, floats } = scan(text, limits.depthMax)
  if (depth > limits.depthMax) throw badJson('body', `nested deeper than ${limits.depthMax} levels`)
  const value = parse(text)
  return floats && limits.integralFloats === 'poison' ? parse(poison(text)) : value
}

/** The string under a key; undefined when it is absent or something else. Inherited properties do not count. */
export function stringAt(obj: JsonObject, key: string): string | undefined {
  const value = valueAt(obj, key)
  return typeof value === 'string' ? value : undefined
}

/** The integer within ±(2^53-1) under a key; undefined when it is absent or something else. */
export function integerAt(obj: JsonObject, key: string): number | undefined {
  const value = valueAt(obj, key)
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined
}

/** The boolean under a key; undefined when it is absent or something else. */
export function booleanAt(obj: JsonObject, key: string): boolean | undefined {
  const value = valueAt(obj, key)
  return typeof value === 'boolean' ? value : undefined
}

/** The object under a key; undefined when it is absent or something else. */
export function objectAt(obj: JsonObject, key: string): JsonObject | undefined {
  const value = valueAt(obj, key)
  return isObject(value) ? value : undefined
}

/** The array under a key; undefined when it is absent or something else. */
export function arrayAt(obj: JsonObject, key: string): readonly Json[] | undefined {
  const value = valueAt(obj, key)
  return isArray(value) ? value : undefined
}

function parse(text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    throw new MatrixError('M_NOT_JSON', 'Not valid JSON')
  }
}

function valueAt(obj: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(obj, key) ? obj[key] : undefined
}

/** `Array.isArray` narrows a readonly array badly. */
function isArray(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value)
}

const quote = 0x22
const backslash = 0x5c

/**
 * One pass without recursion, since `JSON.parse` accepts nesting that overflows the stack of whatever walks its
 * result. Stops at the first level too deep. On text that is not JSON the answer has no meaning and needs none.
 */
function scan(text: string, depthMax: number): { depth: number; floats: boolean } {
  let depth = 0
  let deepest = 0
  let floats = false
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at)
        break
      case 0x7b: // {
      case 0x5b: // [
        depth++
        if (depth > deepest) deepest = depth
        if (deepest > depthMax) return { depth: deepest, floats }
        break
      case 0x7d: // }
      case 0x5d: // ]
        depth--
        break
      case 0x2e: // . outside strings occurs in numbers only; e occurs also in true and false
        floats = true
        break
      case 0x45: // E
      case 0x65: // e
        floats ||= isDigit(text.charCodeAt(at - 1))
    }
  }
  return { depth: deepest, floats }
}

/** Index of the quote that closes the string opened at `start`; the end of the text when there is none. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end === -1 ? text.length : end
}

function isEscaped(text: string, at: number): boolean {
  let first = at
  while (text.charCodeAt(first - 1) === backslash) first--
  return (at - first) % 2 === 1
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/**
 * Replaces each number token that has a fraction or an exponent and an integer value.
 * @NOTE Only for valid JSON: on a string that never ends the expression takes quadratic time.
 */
function poison(text: string): string {
  return text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs, (token) =>
    token.startsWith('"') || /^-?\d+$/.test(token) || !Number.isInteger(Number(token))
      ? token
      : '1e999',
  )
}
