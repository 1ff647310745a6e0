import { LRUCache } from 'lru-cache'
import type { AuthSession, InteractiveAuth } from '../homeserver/accounts/interactive-auth.ts'
import { atMost } from '../homeserver/platform/cache.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import { forbidden, MatrixError } from '../spec/errors.ts'
import { isObject, type JsonObject, objectAt, stringAt } from '../spec/json.ts'
import { Answer } from './answer.ts'
import { createStages, type Stage, type StageNeeds } from './auth-stages.ts'

/** A request that has to be confirmed. */
export interface Guarded {
  /** Endpoint, and what in its path matters: a session is good for this and nothing else. */
  readonly operation: string
  readonly who?: Requester
  /** Each flow is a list of stages, all of which have to be done. */
  readonly flows: readonly (readonly Stage[])[]
  /** The request's body, `auth` included. */
  readonly body: JsonObject
}

/** What the guarded request is told once it is confirmed. */
export interface Confirmed {
  /** Id of the session in which it was. */
  readonly session: string
  /** The body, with what the session remembers of earlier requests. */
  readonly body: JsonObject
  /** What the request did when it was confirmed before; it must not be done twice. */
  readonly done?: JsonObject
  /** Notes what was done, for a repetition. */
  remember(result: JsonObject): Promise<void>
}

export type InteractiveNeeds = StageNeeds & { readonly sessions: InteractiveAuth }

/**
 * Runs a request only after its user has confirmed it; until then the answer says what is wanted.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api}
 */
export function createInteractive(needs: InteractiveNeeds) {
  const openSession = createSessionOpener(needs.sessions)
  const refusalOf = createStages(needs)

  return async function interactive<R>(
    guarded: Guarded,
    run: (confirmed: Confirmed) => Promise<R>,
  ): Promise<R | Answer> {
    const { auth } = guarded.body
    if (!isObject(auth)) return challenge((await openSession(guarded, undefined)).session)
    const { session, secrets } = await openSession(guarded, stringAt(auth, 'session'))
    const type = stringAt(auth, 'type')
    let { completed } = session
    if (type !== undefined && !completed.includes(type)) {
      const stage = guarded.flows.flat().find((known) => known === type)
      if (stage === undefined) return challenge(session, unknownStage(type))
      const purpose = guarded.operation === 'register' ? 'register' : 'password'
      const of = { who: guarded.who, session: session.id, purpose } as const
      const refusal = await refusalOf(stage, auth, of)
      if (refusal !== undefined) return challenge(session, refusal)
      completed = await needs.sessions.complete(session.id, type)
    }
    const confirmed = session.flows.some((flow) => flow.every((one) => completed.includes(one)))
    if (!confirmed) return challenge({ ...session, completed })
    return await run({
      session: session.id,
      body: { ...objectAt(session.request, 'body'), ...secrets, ...guarded.body },
      ...(session.result !== undefined && { done: session.result }),
      remember: (result) => needs.sessions.setResult(session.id, result),
    })
  }
}

export type Interactive = ReturnType<typeof createInteractive>

/** Sessions whose passwords are remembered from one request to the next: in memory only, never stored. */
const secretsMax = 1000
const secretsMs = 600_000
const secretFields: ReadonlySet<string> = new Set(['password', 'new_password'])
/** Characters of a body that a session remembers; the client of a larger one has to send it again. */
const rememberedCharsMax = 16_384

/** Finds the session that a request belongs to, or opens one. */
function createSessionOpener(sessions: InteractiveAuth) {
  const secretsOf = new LRUCache<string, JsonObject>({ ...atMost(secretsMax), ttl: secretsMs })

  return async function openSession(
    { operation, who, flows, body }: Guarded,
    id: string | undefined,
  ): Promise<{ session: AuthSession; secrets: JsonObject }> {
    const purpose = `${operation} ${who?.user ?? ''}`
    if (id !== undefined) {
      const session = await sessions.get(id)
      if (session === undefined) {
        throw new MatrixError('M_UNKNOWN', 'Unknown or expired session', { status: 400 })
      }
      if (stringAt(session.request, 'operation') !== purpose) {
        throw forbidden('The session was opened for another request')
      }
      return { session, secrets: secretsOf.get(id) ?? {} }
    }
    const { auth: _, ...rest } = body
    const open = pick(rest, (key) => !secretFields.has(key))
    const kept = JSON.stringify(open).length > rememberedCharsMax ? {} : open
    const request = { operation: purpose, body: kept }
    const session = await sessions.create({ flows, params: {}, request })
    const secrets = pick(rest, (key) => secretFields.has(key))
    secretsOf.set(session.id, secrets)
    return { session, secrets }
  }
}

function challenge(session: AuthSession, refusal?: MatrixError): Answer {
  const body = {
    session: session.id,
    flows: session.flows.map((stages) => ({ stages })),
    params: session.params,
    ...(session.completed.length > 0 && { completed: session.completed }),
    ...(refusal !== undefined && { errcode: refusal.errcode, error: refusal.message }),
  }
  return new Answer(JSON.stringify(body), { status: 401 })
}

function unknownStage(type: string): MatrixError {
  return new MatrixError('M_UNRECOGNIZED', `${type} is not part of any flow here`)
}

function pick(body: JsonObject, wanted: (key: string) => boolean): JsonObject {
  return Object.fromEntries(Object.entries(body).filter(([key]) => wanted(key)))
}
