import { LRUCache } from 'lru-cache'
import type { Accounts } from '../homeserver/accounts/accounts.ts'
import type { AuthSession, InteractiveAuth } from '../homeserver/accounts/interactive-auth.ts'
import type { Requester } from '../homeserver/rooms/rooms.ts'
import { forbidden, MatrixError } from '../spec/errors.ts'
import { isObject, type JsonObject, objectAt, stringAt } from '../spec/json.ts'
import { Answer } from './answer.ts'
import { identifiedUser } from './identifier.ts'

/** A stage of user-interactive authentication that this server knows. */
export type Stage = 'm.login.dummy' | 'm.login.password' | 'm.login.registration_token'

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
  /** The body, with what the session remembers of earlier requests. */
  readonly body: JsonObject
  /** What the request did when it was confirmed before; it must not be done twice. */
  readonly done?: JsonObject
  /** Notes what was done, for a repetition. */
  remember(result: JsonObject): Promise<void>
}

export interface InteractiveNeeds {
  readonly sessions: InteractiveAuth
  readonly accounts: Pick<Accounts, 'verifyPassword'>
  readonly serverName: string
  readonly registrationTokens: readonly string[]
  readonly takeBudget: (limit: 'login', key: string) => void
}

/** Sessions whose passwords are remembered from one request to the next: in memory only, never stored. */
const secretsMax = 1000
const secretsMs = 600_000
/** Characters of a body that a session remembers; the client of a larger one has to send it again. */
const rememberedCharsMax = 16_384
const secretFields: ReadonlySet<string> = new Set(['auth', 'password', 'new_password'])

/**
 * Runs a request only after its user has confirmed it; until then the answer says what is wanted.
 * {@link https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api}
 */
export function createInteractive(needs: InteractiveNeeds) {
  const secrets = new LRUCache<string, JsonObject>({ max: secretsMax, ttl: secretsMs })

  return async function interactive<R>(
    guarded: Guarded,
    run: (confirmed: Confirmed) => Promise<R>,
  ): Promise<R | Answer> {
    const { auth } = guarded.body
    const given = isObject(auth) ? auth : undefined
    const session = await sessionOf(guarded, given)
    if (given === undefined) return challenge(session)
    const type = stringAt(given, 'type')
    let { completed } = session
    if (type !== undefined && !completed.includes(type)) {
      const refusal = await attempt(type, given, guarded)
      if (refusal !== undefined) return challenge(session, refusal)
      completed = await needs.sessions.complete(session.id, type)
    }
    const satisfied = session.flows.some((flow) => flow.every((stage) => completed.includes(stage)))
    if (!satisfied) return challenge({ ...session, completed })
    return await run({
      body: {
        ...objectAt(session.request, 'body'),
        ...secrets.get(session.id),
        ...guarded.body,
      },
      ...(session.result !== undefined && { done: session.result }),
      remember: (result) => needs.sessions.setResult(session.id, result),
    })
  }

  async function sessionOf(guarded: Guarded, auth: JsonObject | undefined): Promise<AuthSession> {
    const id = auth && stringAt(auth, 'session')
    const operation = `${guarded.operation} ${guarded.who?.user ?? ''}`
    if (id === undefined) {
      const session = await needs.sessions.create({
        flows: guarded.flows,
        params: {},
        request: { operation, body: remembered(guarded.body) },
      })
      secrets.set(
        session.id,
        without(guarded.body, (key) => key === 'auth' || !secretFields.has(key)),
      )
      return session
    }
    const session = await needs.sessions.get(id)
    if (session === undefined) {
      throw new MatrixError('M_UNKNOWN', 'Unknown or expired session', { status: 400 })
    }
    if (stringAt(session.request, 'operation') !== operation) {
      throw forbidden('the session was opened for another request')
    }
    return session
  }

  /** Undefined when the stage is done. */
  async function attempt(
    type: string,
    auth: JsonObject,
    guarded: Guarded,
  ): Promise<MatrixError | undefined> {
    const stage = guarded.flows.flat().find((known) => known === type)
    switch (stage) {
      case undefined:
        return new MatrixError('M_UNRECOGNIZED', `${type} is not part of any flow here`)
      case 'm.login.dummy':
        return undefined
      case 'm.login.password':
        return (await isPassword(auth, guarded.who)) ? undefined : forbidden('Invalid password')
      case 'm.login.registration_token':
        return needs.registrationTokens.includes(stringAt(auth, 'token') ?? '')
          ? undefined
          : new MatrixError('M_UNAUTHORIZED', 'Invalid registration token')
      default:
        return stage satisfies never
    }
  }

  async function isPassword(auth: JsonObject, who: Requester | undefined): Promise<boolean> {
    const password = stringAt(auth, 'password')
    if (who === undefined || password === undefined) return false
    needs.takeBudget('login', who.user)
    const user = identifiedUser(auth, needs.serverName) ?? who.user
    return user === who.user && (await needs.accounts.verifyPassword(user, password))
  }
}

export type Interactive = ReturnType<typeof createInteractive>

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

function remembered(body: JsonObject): JsonObject {
  const kept = without(body, (key) => secretFields.has(key))
  return JSON.stringify(kept).length > rememberedCharsMax ? {} : kept
}

function without(body: JsonObject, drops: (key: string) => boolean): JsonObject {
  return Object.fromEntries(Object.entries(body).filter(([key]) => !drops(key)))
}
