import type { z } from 'zod'
import { badJson, invalidParam, MatrixError } from '../spec/errors.ts'

/** Part of a request; decides which error a wrong value is. */
export type Place = 'path' | 'query' | 'body'

/** Checks one part of a request against its schema; the error names the field. */
export function parsePart<T>(schema: z.ZodType<T>, value: unknown, place: Place): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw errorOf(result.error, value, place)
}

function errorOf(error: z.ZodError, value: unknown, place: Place): MatrixError {
  const [issue] = error.issues
  const path = issue?.path ?? []
  const field = path.map(String).join('.') || place
  const reason = issue?.message ?? 'wrong value'
  if (path.length > 0 && isAbsent(value, path)) {
    return new MatrixError('M_MISSING_PARAM', `${field}: missing`)
  }
  return place === 'body' ? badJson(field, reason) : invalidParam(field, reason)
}

function isAbsent(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value
  for (const key of path) {
    if (typeof at !== 'object' || at === null) return false
    at = Reflect.get(at, key)
  }
  return at === undefined
}
