import { describe, expect, it } from 'vitest'
import type { AuthSession, InteractiveAuth } from '../homeserver/accounts/interactive-auth.ts'
import { parseUserId } from '../spec/ids.ts'
import type { JsonObject } from '../spec/json.ts'
import { Answer } from './answer.ts'
import { createInteractive } from './interactive-auth.ts'
import { noAddresses } from './test-rooms.ts'

const alice = { user: parseUserId('@alice:example.org'), guest: false, admin: false }
const bob = { user: parseUserId('@bob:example.org'), guest: false, admin: false }

/** Sessions in a map. */
function memorySessions(): InteractiveAuth & { readonly stored: Map<string, AuthSession> } {
  const stored = new Map<string, AuthSession>()
  return {
    stored,
    async create(fields) {
      const session = { ...fields, id: `session${stored.size}`, completed: [] }
      stored.set(session.id, session)
      return session
    },
    get: async (id) => stored.get(id),
    async complete(id, stage) {
      const session = stored.get(id)
      if (session === undefined) throw new Error('no session')
      const completed = [...session.completed, stage]
      stored.set(id, { ...session, completed })
      return completed
    },
    async setResult(id, result) {
      const session = stored.get(id)
      if (session !== undefined) stored.set(id, { ...session, result })
    },
  }
}

function setUp() {
  const sessions = memorySessions()
  const interactive = createInteractive({
    sessions,
    accounts: { verifyPassword: async (user, password) => password === `of ${user}` },
    addresses: noAddresses,
    serverName: 'example.org',
    registrationTokens: ['friends'],
    takeBudget: () => {},
  })
  return { sessions, interactive }
}

const run = async ({ body }: { body: JsonObject }) => ({ done: body })

async function jsonOf(result: unknown) {
  if (!(result instanceof Answer) || typeof result.body !== 'string')
    return { status: 200, json: result }
  return { status: result.status, json: JSON.parse(result.body) }
}

describe('user-interactive authentication', () => {
  it('asks first, and runs the request once a flow is complete', async () => {
    const { interactive } = setUp()
    const flows = [['m.login.registration_token', 'm.login.dummy']] as const
    const ask = async (body: JsonObject) =>
      jsonOf(await interactive({ operation: 'register', flows, body }, run))

    const first = await ask({ username: 'carol', password: 'secret' })
    expect(first).toMatchObject({
      status: 401,
      json: { flows: [{ stages: ['m.login.registration_token', 'm.login.dummy'] }], params: {} },
    })
    const { session } = first.json
    const refused = await ask({
      auth: { type: 'm.login.registration_token', token: 'no', session },
    })
    expect(refused).toMatchObject({ status: 401, json: { errcode: 'M_UNAUTHORIZED', session } })
    expect(refused.json.completed).toBeUndefined()
    const second = await ask({
      auth: { type: 'm.login.registration_token', token: 'friends', session },
    })
    expect(second).toMatchObject({
      status: 401,
      json: { completed: ['m.login.registration_token'], session },
    })
    const third = await ask({ auth: { type: 'm.login.dummy', session } })
    expect(third).toMatchObject({
      status: 200,
      json: { done: { username: 'carol', password: 'secret' } },
    })
  })

  it('takes a first request that is confirmed already', async () => {
    const { interactive } = setUp()
    const body = { username: 'carol', auth: { type: 'm.login.dummy' } }
    const result = await interactive(
      { operation: 'register', flows: [['m.login.dummy']], body },
      run,
    )
    expect(result).toMatchObject({ done: { username: 'carol' } })
  })

  it('stores no password', async () => {
    const { interactive, sessions } = setUp()
    const body = { username: 'carol', password: 'secret', new_password: 'other' }
    await interactive({ operation: 'register', flows: [['m.login.dummy']], body }, run)
    expect(JSON.stringify([...sessions.stored])).not.toMatch(/secret|other/)
  })

  it('wants the password of the caller, by any way to name them', async () => {
    const { interactive } = setUp()
    const flows = [['m.login.password']] as const
    const ask = async (auth: JsonObject) =>
      (
        await jsonOf(
          await interactive(
            {
              operation: 'password',
              who: alice,
              flows,
              body: { auth: { type: 'm.login.password', ...auth } },
            },
            run,
          ),
        )
      ).status

    const password = `of ${alice.user}`
    expect(await ask({ password })).toBe(200)
    expect(await ask({ password, user: 'alice' })).toBe(200)
    expect(await ask({ password, identifier: { type: 'm.id.user', user: alice.user } })).toBe(200)
    expect(await ask({ password: 'wrong' })).toBe(401)
    const other = { password: `of ${bob.user}`, identifier: { type: 'm.id.user', user: 'bob' } }
    await expect(ask(other)).rejects.toMatchObject({ status: 403, errcode: 'M_FORBIDDEN' })
  })

  it('ties a session to its request and its user', async () => {
    const { interactive } = setUp()
    const flows = [['m.login.password']] as const
    const open = await jsonOf(
      await interactive({ operation: 'deleteDevice A', who: alice, flows, body: {} }, run),
    )
    const auth = {
      type: 'm.login.password',
      session: open.json.session,
      password: `of ${alice.user}`,
    }
    await expect(
      interactive({ operation: 'deleteDevice B', who: alice, flows, body: { auth } }, run),
    ).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    await expect(
      interactive({ operation: 'deleteDevice A', who: bob, flows, body: { auth } }, run),
    ).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    await expect(
      interactive(
        { operation: 'deleteDevice A', who: alice, flows, body: { auth: { session: 'unknown' } } },
        run,
      ),
    ).rejects.toMatchObject({ status: 400 })
  })

  it('tells a repetition what was done', async () => {
    const { interactive } = setUp()
    const guarded = { operation: 'register', flows: [['m.login.dummy']] as const, body: {} }
    const { session } = (await jsonOf(await interactive(guarded, run))).json
    const confirm = { ...guarded, body: { auth: { type: 'm.login.dummy', session } } }
    const first = await interactive(confirm, async ({ done, remember }) => {
      await remember({ user_id: '@x:example.org' })
      return done
    })
    expect(first).toBeUndefined()
    expect(await interactive(confirm, async ({ done }) => done)).toEqual({
      user_id: '@x:example.org',
    })
  })

  it('does not know stages that it did not offer', async () => {
    const { interactive } = setUp()
    const body = { auth: { type: 'm.login.recaptcha' } }
    const result = await jsonOf(
      await interactive({ operation: 'register', flows: [['m.login.dummy']], body }, run),
    )
    expect(result).toMatchObject({ status: 401, json: { errcode: 'M_UNRECOGNIZED' } })
  })
})
