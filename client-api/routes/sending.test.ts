import { describe, expect, it } from 'vitest'
import { notFound } from '../../spec/errors.ts'
import { parseEventId, parseUserId } from '../../spec/ids.ts'
import { testServer } from '../test-server.ts'
import { sendingRoutes } from './sending.ts'

const eventId = parseEventId('$sent')
const room = '!room:example.org'
const service = {
  id: 'bridge',
  rateLimited: true,
  sender: parseUserId('@bridge:example.org'),
  covers: () => false,
}

function setUp() {
  const asked: unknown[][] = []
  const routes = sendingRoutes({
    rooms: {
      send: async (who, draft) => {
        asked.push(['send', who.user, draft])
        return eventId
      },
      redact: async (who, ...rest) => {
        asked.push(['redact', who.user, ...rest])
        return eventId
      },
      event: async () => {
        throw notFound('Event')
      },
    },
    delays: {
      add: async (who, draft, delayMs) => {
        asked.push(['delay', who.user, draft, delayMs])
        return 'a-delay'
      },
    },
  })
  const byToken = (token: string) => (token === 'service' ? service : undefined)
  const server = testServer(routes, { appservices: { byToken } })
  return { asked, server }
}

describe('sending', () => {
  it('hands the content on untouched, with the transaction of the device', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const body = { msgtype: 'm.text', body: 'hi', nested: { __proto__x: [1, null] } }
    const answer = await api.ask('PUT', `/v3/rooms/${room}/send/m.room.message/t1?ts=5`, {
      token: 'alice',
      body,
    })
    expect(answer).toMatchObject({ status: 200, json: { event_id: '$sent' } })
    const txn = { device: 'PHONE', endpoint: `send/${room}/m.room.message`, txnId: 't1' }
    expect(asked).toEqual([
      ['send', '@alice:example.org', { room, type: 'm.room.message', content: body, txn }],
    ])
  })

  it('keeps for later what comes with a delay', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const path = `/v3/rooms/${room}/state/a.b/key?org.matrix.msc4140.delay=500`
    const answer = await api.ask('PUT', path, { token: 'alice', body: { a: 1 } })
    expect(answer).toMatchObject({ status: 200, json: { delay_id: 'a-delay' } })
    const draft = { room, type: 'a.b', stateKey: 'key', content: { a: 1 } }
    expect(asked).toEqual([['delay', '@alice:example.org', draft, 500]])
  })

  it('redacts later what is to be redacted later', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const path = `/v3/rooms/${room}/send/m.room.redaction/t1?org.matrix.msc4140.delay=500`
    const content = { redacts: '$said' }
    const answer = await api.ask('PUT', path, { token: 'alice', body: content })
    expect(answer).toMatchObject({ status: 200, json: { delay_id: 'a-delay' } })
    expect(asked).toMatchObject([['delay', '@alice:example.org', { content }, 500]])
  })

  it('takes no empty body for content', async () => {
    const { asked, server } = setUp()
    await using api = await server
    const path = `/v3/rooms/${room}/send/a.b/t1`
    expect(await api.ask('PUT', path, { token: 'alice' })).toMatchObject({
      status: 400,
      json: { errcode: 'M_NOT_JSON' },
    })
    expect(asked).toEqual([])
  })

  it('puts state under an empty key when there is none', async () => {
    const { asked, server } = setUp()
    await using api = await server
    for (const path of ['m.room.name', 'm.room.name/']) {
      await api.ask('PUT', `/v3/rooms/${room}/state/${path}`, {
        token: 'alice',
        body: { name: 'x' },
      })
    }
    await api.ask('PUT', `/v3/rooms/${room}/state/a.b/${encodeURIComponent('@x:y/z')}`, {
      token: 'alice',
      body: {},
    })
    expect(asked.map(([, , draft]) => draft)).toMatchObject([
      { type: 'm.room.name', stateKey: '' },
      { type: 'm.room.name', stateKey: '' },
      { type: 'a.b', stateKey: '@x:y/z' },
    ])
  })

  it('lets an application service say when, and counts it as its own device', async () => {
    const { asked, server } = setUp()
    await using api = await server
    await api.ask('PUT', `/v3/rooms/${room}/send/m.room.message/t1?ts=5`, {
      token: 'service',
      body: {},
    })
    expect(asked).toMatchObject([
      ['send', '@bridge:example.org', { originServerTs: 5, txn: { device: 'appservice bridge' } }],
    ])
  })

  it('redacts, also by a plain send', async () => {
    const { asked, server } = setUp()
    await using api = await server
    await api.ask('PUT', `/v3/rooms/${room}/redact/$e/t1`, {
      token: 'alice',
      body: { reason: 'spam' },
    })
    await api.ask('PUT', `/v3/rooms/${room}/send/m.room.redaction/t2`, {
      token: 'alice',
      body: { redacts: '$e' },
    })
    expect(asked).toMatchObject([
      ['redact', '@alice:example.org', room, '$e', 'spam', { txnId: 't1' }],
      ['redact', '@alice:example.org', room, '$e', undefined, { txnId: 't2' }],
    ])
  })

  it('wants a room id and an object', async () => {
    const { asked, server } = setUp()
    await using api = await server
    expect(
      await api.ask('PUT', '/v3/rooms/nowhere/send/a/t', { token: 'alice', body: {} }),
    ).toMatchObject({ status: 400, json: { errcode: 'M_INVALID_PARAM' } })
    expect(
      await api.ask('PUT', `/v3/rooms/${room}/send/a/t`, { token: 'alice', body: [] }),
    ).toMatchObject({ status: 400, json: { errcode: 'M_BAD_JSON' } })
    expect(asked).toEqual([])
  })
})
