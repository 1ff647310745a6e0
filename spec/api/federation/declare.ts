import type { Method } from '../../endpoint.ts'

/** What nearly every endpoint between servers has in common: signed requests, and limits per origin instead of a class. */
export const signed = { auth: 'server', rateLimit: 'none' } as const
/** Endpoints that anybody may ask. */
export const open = { auth: 'none', rateLimit: 'none' } as const

/** Anchor of an endpoint in the server-server specification. */
export function serverSpec(method: Method, path: string): string {
  return `server-server-api/#${`${method}${path}`.replaceAll(/[^A-Za-z0-9_-]/g, '').toLowerCase()}`
}

/** Most events that one answer of history may carry, whatever is asked for. */
export const historyLimitMax = 100
/** Most event ids that one request may name. */
export const requestedIdsMax = 100
