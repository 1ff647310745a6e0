/**
 * Keeps the sessions of user-interactive authentication, so that any process can take the next stage. What stages
 * mean is the border's business. {@link https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api}
 */
import { notFound } from '../../spec/errors.ts'
import type { JsonObject } from '../../spec/json.ts'
import type { Database } from '../database/database.ts'
import { storedObject } from '../database/stored-text.ts'
import type { Clock } from '../platform/clock.ts'
import type { Random } from '../platform/random.ts'
import * as queries from './queries.ts'

export interface AuthSession {
  readonly id: string
  readonly flows: readonly (readonly string[])[]
  readonly params: JsonObject
  /** What the session was opened for: endpoint, user, body, as the border wishes. */
  readonly request: JsonObject
  readonly completed: readonly string[]
  /** What the request answered, once it was done. */
  readonly result?: JsonObject
}

export interface InteractiveAuth {
  create(session: Pick<AuthSession, 'flows' | 'params' | 'request'>): Promise<AuthSession>
  /** Undefined when unknown or older than an hour. */
  get(id: string): Promise<AuthSession | undefined>
  /** Adds a stage; answers all that are complete. Throws M_NOT_FOUND for an unknown session. */
  complete(id: string, stage: string): Promise<readonly string[]>
  /** Keeps the answer for a repetition of the last request. */
  setResult(id: string, result: JsonObject): Promise<void>
}

const sessionMs = 3_600_000
const idLengthMax = 64

export function createInteractiveAuth(needs: {
  db: Database
  clock: Clock
  random: Random
}): InteractiveAuth {
  const { db, clock, random } = needs
  return {
    async create({ flows, params, request }) {
      const id = random.text(24)
      await queries.deleteExpired(db, clock.now())
      await queries.insertUiaSession(db, {
        id,
        flows: JSON.stringify({ flows }),
        params: JSON.stringify(params),
        request: JSON.stringify(request),
        expiresAt: clock.now() + sessionMs,
      })
      return { id, flows, params, request, completed: [] }
    },
    async get(id) {
      if (id.length > idLengthMax || id.includes('\0')) return undefined
      const row = await queries.findUiaSession(db, id, clock.now())
      return row && sessionOf(row)
    },
    async complete(id, stage) {
      const completed = await queries.completeUiaStage(db, id, stage)
      if (completed.length === 0) throw notFound('session')
      return completed
    },
    setResult: (id, result) => queries.setUiaResult(db, id, JSON.stringify(result)),
  }
}

function sessionOf(row: queries.UiaRow): AuthSession {
  return {
    id: row.session_id,
    flows: flowsOf(storedObject(row.flows)),
    params: storedObject(row.params),
    request: storedObject(row.request),
    completed: row.completed,
    ...(row.result === null ? {} : { result: storedObject(row.result) }),
  }
}

function flowsOf({ flows }: JsonObject): string[][] {
  if (!Array.isArray(flows)) return []
  return flows.map((flow: unknown) => (Array.isArray(flow) ? flow.map(String) : []))
}
