import { invalidParam } from '../errors.ts'
import { parseSyncToken } from './token.ts'

/** `h<position>`: where a walk back through the changes of thread subscriptions goes on. */
export function formatThreadToken(position: number): string {
  return `h${position}`
}

/**
 * Of such a token, or of one of a sync: the `pos` of a sliding sync is one too.
 * @throws MatrixError M_INVALID_PARAM for anything else; `field` names the parameter.
 */
export function parseThreadToken(text: string, field: string): number {
  if (text.startsWith('s')) return parseSyncToken(text, field).position
  const position = /^h([0-9]{1,15})$/.exec(text)?.[1]
  if (position === undefined) throw invalidParam(field, 'not a token of thread subscriptions')
  return Number(position)
}
