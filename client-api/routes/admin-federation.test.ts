import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testDatabase } from '../../homeserver/database/test-database.ts'
import { createDestinations } from '../../homeserver/destinations/destinations.ts'
import { FakeClock } from '../../homeserver/platform/fake-clock.ts'
import { silentLogger } from '../../homeserver/platform/log.ts'
import { parseDeviceId, parseRoomId, parseServerName, parseUserId } from '../../spec/ids.ts'
import { createAuthenticate } from '../authenticate.ts'
import { testServer } from '../test-server.ts'
import { federationAdminRoutes } from './admin-federation.ts'

const path = '/_synapse/admin/v1/federation/destinations'
const away = parseServerName('away.example')
const clock = new FakeClock()

async function start() {
  const database = await testDatabase()
  const destinations = await createDestinations({ db: database.db, clock, log: silentLogger })
  const server = await testServer(
    federationAdminRoutes({ destinations: destinations.administration }),
    {
      authenticate: createAuthenticate({
        tokenInQuery: false,
        sessions: {
          authenticate: async (token) => ({
            user: parseUserId('@root:here.example'),
            device: parseDeviceId('A'),
            guest: false,
            admin: token === 'admin',
          }),
        },
      }),
    },
  )
  return {
    ...server,
    destinations,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await destinations[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

let api: Awaited<ReturnType<typeof start>>
beforeAll(async () => {
  api = await start()
  api.destinations.backoff.met(parseServerName('well.example'))
  api.destinations.backoff.failed(away)
  await api.destinations.backoff.flush()
  const room = parseRoomId('!r:here.example')
  await api.destinations.noteBehind([{ destination: away, room, first: 1, last: 9 }])
})
afterAll(async () => await api[Symbol.asyncDispose]())

const token = 'admin'

describe('the destinations', () => {
  it('are for administrators', async () => {
    for (const [method, at] of [
      ['GET', path],
      ['GET', `${path}/${away}`],
      ['GET', `${path}/${away}/rooms`],
      ['POST', `${path}/${away}/reset_connection`],
    ] as const) {
      expect(await api.ask(method, at, { token: 'somebody' })).toMatchObject({ status: 403 })
    }
  })

  it('are listed with their failures', async () => {
    const { status, json } = await api.ask('GET', `${path}?limit=1`, { token })
    expect(status).toBe(200)
    expect(json).toEqual({
      destinations: [
        {
          destination: away,
          retry_last_ts: clock.now(),
          retry_interval: 1_000,
          failure_ts: clock.now(),
          last_successful_stream_ordering: null,
        },
      ],
      total: 2,
      next_token: '1',
    })
    const next = await api.ask('GET', `${path}?from=1&destination=well`, { token })
    expect(next.json).toEqual({ destinations: [], total: 1 })
  })

  it('are shown one by one, with the rooms in which something is missed', async () => {
    expect(await api.ask('GET', `${path}/${away}`, { token })).toMatchObject({
      status: 200,
      json: { destination: away, retry_interval: 1_000 },
    })
    expect((await api.ask('GET', `${path}/${away}/rooms`, { token })).json).toEqual({
      rooms: [{ room_id: '!r:here.example', stream_ordering: 9 }],
      total: 1,
    })
    expect(await api.ask('GET', `${path}/unknown.example`, { token })).toMatchObject({
      status: 404,
      json: { errcode: 'M_NOT_FOUND' },
    })
  })

  it('are tried again when told to, if there is a pause to end', async () => {
    const reset = `${path}/${away}/reset_connection`
    expect(await api.ask('POST', reset, { token, body: {} })).toMatchObject({
      status: 200,
      json: {},
    })
    expect(api.destinations.backoff.retryAt(away)).toBe(0)
    expect(await api.ask('POST', reset, { token, body: {} })).toMatchObject({ status: 400 })
  })
})
