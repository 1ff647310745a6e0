import { invalidParam } from '../../spec/errors.ts'
import { isObject, type JsonObject } from '../../spec/json.ts'

/** Reads JSON that this server stored as text; what is not an object cannot be. */
export function storedObject(text: string): JsonObject {
  const value: unknown = JSON.parse(text)
  if (!isObject(value)) throw new Error('stored JSON is not an object')
  return value
}

/**
 * Throws M_INVALID_PARAM for text that Postgres cannot keep (NUL, lone surrogates) or that is longer than
 * `bytesMax` bytes of UTF-8.
 */
export function requireStorable(field: string, text: string, bytesMax: number): string {
  if (/[\0\p{Surrogate}]/u.test(text)) throw invalidParam(field, 'not storable text')
  if (Buffer.byteLength(text) > bytesMax) throw invalidParam(field, `longer than ${bytesMax} bytes`)
  return text
}
