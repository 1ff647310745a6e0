import type { JsonObject } from './json.ts'

/**
 * An error that a caller may see: code, sentence and extra fields of the standard error shape.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#standard-error-response}
 */
export class MatrixError extends Error {
  override readonly name = 'MatrixError'
  readonly errcode: string
  readonly status: number
  readonly fields: JsonObject

  constructor(
    errcode: string,
    message: string,
    options: { status?: number; fields?: JsonObject } = {},
  ) {
    super(message)
    this.errcode = errcode
    this.status = options.status ?? statusOf[errcode] ?? 400
    this.fields = options.fields ?? {}
  }

  /** The body that goes over the wire. */
  toJSON(): JsonObject {
    return { errcode: this.errcode, error: this.message, ...this.fields }
  }
}

/** Usual HTTP status of an errcode; anything not listed is a 400. */
const statusOf: Readonly<Record<string, number>> = {
  M_FORBIDDEN: 403,
  M_GUEST_ACCESS_FORBIDDEN: 403,
  M_UNKNOWN_TOKEN: 401,
  M_MISSING_TOKEN: 401,
  M_UNAUTHORIZED: 401,
  M_USER_LOCKED: 401,
  M_USER_SUSPENDED: 403,
  M_USER_DEACTIVATED: 403,
  M_NOT_FOUND: 404,
  M_UNRECOGNIZED: 404,
  M_LIMIT_EXCEEDED: 429,
  M_TOO_LARGE: 413,
  M_UNKNOWN: 500,
  M_WRONG_ROOM_KEYS_VERSION: 403,
  M_UNABLE_TO_AUTHORISE_JOIN: 400,
  M_UNABLE_TO_GRANT_JOIN: 400,
  M_CANNOT_LEAVE_SERVER_NOTICE_ROOM: 403,
  M_INVITE_BLOCKED: 403,
  M_CONNECTION_FAILED: 502,
}

/** The caller lacks the right to do this; says which rule refused. */
export function forbidden(reason: string): MatrixError {
  return new MatrixError('M_FORBIDDEN', reason)
}

/** Not there, or not visible to the caller: the two answer alike. */
export function notFound(what: string): MatrixError {
  return new MatrixError('M_NOT_FOUND', `${what} not found`)
}

/**
 * The account is locked for a while; its sessions are good again when it is not.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#account-locking}
 */
export function userLocked(): MatrixError {
  const fields = { soft_logout: true }
  return new MatrixError('M_USER_LOCKED', 'This account has been locked', { fields })
}

/** A parameter with a wrong value; `field` is its name. */
export function invalidParam(field: string, reason: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', `${field}: ${reason}`)
}

/** A body of the wrong shape; `field` is the path of the offending value. */
export function badJson(field: string, reason: string): MatrixError {
  return new MatrixError('M_BAD_JSON', `${field}: ${reason}`)
}
