import { z } from 'zod'
import type { Json, JsonObject } from '../json.ts'

/**
 * Pieces of which endpoint declarations are made. `exactOptional` everywhere: a key of JSON is there or not there,
 * it is never `undefined`.
 */

/** Any JSON object, handed on as it came: not copied and not looked into. */
export const jsonObject = z.custom<JsonObject>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  { error: 'expected an object' },
)

/** Any JSON value, handed on as it came. */
export const json = z.custom<Json>((value) => value !== undefined, { error: 'expected a value' })

/** An object of which some keys are known; the others are handed on as they came. */
export function openObject<S extends Record<string, z.ZodType>>(shape: S) {
  return z.object(shape).catchall(json)
}

/** The answer `{}`. */
export const nothing = z.object({})

/** A whole number in a query string. */
export function queryInteger(range: { min: number; max?: number }) {
  const bounded = z
    .number()
    .int()
    .min(range.min)
    .max(range.max ?? Number.MAX_SAFE_INTEGER)
  return z
    .string()
    .regex(/^-?[0-9]{1,16}$/, 'expected a whole number')
    .transform(Number)
    .pipe(bounded)
}

/** A page size in a query string: what is above the maximum is brought down to it, as clients expect. */
export function queryLimit(max: number) {
  return queryInteger({ min: 0 }).transform((limit) => Math.min(limit, max))
}

/** `true` or `false` in a query string. */
export const queryBoolean = z.enum(['true', 'false']).transform((text) => text === 'true')

/** A parameter of a query string that may be repeated; at most `max` times. */
export function queryList<S extends z.ZodType<unknown, string>>(schema: S, max: number) {
  return z.preprocess(
    (value) => (typeof value === 'string' ? [value] : value),
    z.array(schema).max(max),
  )
}

/** `b` or `f`: backwards or forwards through history. */
export const direction = z.enum(['b', 'f'])

/** A reason that a person gives, shown to others. */
export const reason = z.string().max(16_384).exactOptional()

/** Event as a client sees it; its content is the room's business. */
export const clientEvent = z.looseObject({ type: z.string(), content: jsonObject })

/** What a client sends to go on with user-interactive authentication. */
export const authData = jsonObject.exactOptional()
