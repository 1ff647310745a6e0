import type { Logger } from '../homeserver/platform/log.ts'
import { MatrixError } from '../spec/errors.ts'
import { Answer } from './answer.ts'

/**
 * Anything thrown becomes the standard error shape. What is not meant for callers is logged with the request's id
 * and answered as M_UNKNOWN without a word about its cause.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#standard-error-response}
 */
export function errorAnswer(thrown: unknown, log: Logger, requestId: string): Answer {
  if (!(thrown instanceof MatrixError)) {
    log.error({ error: thrown, request: requestId }, 'request failed')
    return errorAnswer(new MatrixError('M_UNKNOWN', 'Internal server error'), log, requestId)
  }
  return new Answer(JSON.stringify(thrown), {
    status: thrown.status,
    headers: { 'X-Request-Id': requestId, ...retryAfter(thrown) },
  })
}

/** Clients read the header; `retry_after_ms` is the older way to say it. */
function retryAfter(error: MatrixError): Record<string, string> {
  const { retry_after_ms: waitMs } = error.fields
  return typeof waitMs === 'number' ? { 'Retry-After': String(Math.ceil(waitMs / 1000)) } : {}
}

/** Nothing is served at this path. */
export function unrecognized(): MatrixError {
  return new MatrixError('M_UNRECOGNIZED', 'Unrecognized request', { status: 404 })
}

/** Something is served at this path, by another method. */
export function methodNotAllowed(allowed: readonly string[]): MatrixError {
  return new MatrixError('M_UNRECOGNIZED', `Only ${allowed.join(', ')} here`, { status: 405 })
}
