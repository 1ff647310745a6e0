import { invalidParam } from '../errors.ts'

/** `h<position>`: where a walk back through the changes of thread subscriptions goes on. */
export function formatThreadToken(position: number): string {
  return `h${position}`
}

/** @throws MatrixError M_INVALID_PARAM for anything that `formatThreadToken` did not make; `field` names the parameter. */
export function parseThreadToken(text: string, field: string): number {
  const position = /^h([0-9]{1,15})$/.exec(text)?.[1]
  if (position === undefined) throw invalidParam(field, 'not a token of thread subscriptions')
  return Number(position)
}
