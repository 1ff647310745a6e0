/** Tokens with which a search goes on. */
import { z } from 'zod'
import { invalidParam } from '../../spec/errors.ts'

const placeSchema = z.object({
  /** Beyond this result. */
  after: z.object({ rank: z.number(), ts: z.number().int(), nr: z.number().int() }),
  /** How many there were at first. */
  count: z.number().int().min(0),
  /** Only results of this group. */
  group: z.object({ key: z.enum(['room_id', 'sender']), value: z.string().max(255) }).optional(),
})
export type SearchPlace = z.output<typeof placeSchema>

export function formatPlace(place: SearchPlace): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/** @throws MatrixError M_INVALID_PARAM */
export function parsePlace(token: string): SearchPlace {
  const parsed = placeSchema.safeParse(jsonOf(token))
  if (parsed.success) return parsed.data
  throw invalidParam('next_batch', 'not a token of a search')
}

function jsonOf(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString())
  } catch {
    return undefined
  }
}
