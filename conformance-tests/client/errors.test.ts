import { describe, expect, it } from 'vitest'
import { register, unique } from '../harness/client.ts'
import { joinedRoom, server } from '../harness/fixtures.ts'
import { ask, path } from '../harness/http.ts'

const v3 = '/_matrix/client/v3'

describe('what is not JSON', () => {
  it.each(['', '{', '{"a":}', 'nonsense', '{"a":1', "{'a':1}", '{"a":1}}', '\u0000'])(
    'is refused: %j',
    async (raw) => {
      const { alice, room } = await joinedRoom()
      const answer = await alice.ask(
        'PUT',
        alice.room(room, 'send', 'm.room.message', unique('t')),
        { raw },
      )
      expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_NOT_JSON' } })
    },
  )

  it('is refused before the token is looked at, or after, but never accepted', async () => {
    const answer = await ask(server.clientUrl, 'POST', `${v3}/login`, { raw: '{"type":' })
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_NOT_JSON' } })
  })

  it('is refused when it is no UTF-8', async () => {
    const alice = await register(server)
    const response = await fetch(`${server.clientUrl}${v3}/createRoom`, {
      method: 'POST',
      headers: { authorization: `Bearer ${alice.token}`, 'content-type': 'application/json' },
      body: Buffer.from('7b226e616d65223a22ff fe227d'.replace(' ', ''), 'hex'),
    })
    expect(response.status).toBe(400)
  })
})

describe('JSON of the wrong form', () => {
  it.each(['[]', '1', '"text"', 'null'])('is refused where an object belongs: %s', async (raw) => {
    const { alice, room } = await joinedRoom()
    const answer = await alice.ask('PUT', alice.room(room, 'send', 'm.room.message', unique('t')), {
      raw,
    })
    expect(answer.status).toBe(400)
    expect(answer.body['errcode']).toMatch(/^M_(BAD_JSON|NOT_JSON|UNKNOWN)$/)
  })

  it('is refused with the reason in words', async () => {
    const answer = await ask(server.clientUrl, 'POST', `${v3}/login`, { body: {} })
    expect(answer.status).toBe(400)
    expect(answer.body['errcode']).toMatch(/^M_/)
    expect(answer.body['error']).toEqual(expect.any(String))
  })

  it('that nests without end is refused', async () => {
    const { alice, room } = await joinedRoom()
    const raw = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`
    const answer = await alice.ask(
      'PUT',
      alice.room(room, 'send', 'org.example.deep', unique('t')),
      { raw },
    )
    expect([400, 413]).toContain(answer.status)
    await alice.sendText(room, 'the server is well')
  })

  it('may have members that nobody knows', async () => {
    const alice = await register(server)
    expect(
      await alice.ask('POST', `${v3}/createRoom`, { body: { 'org.example.unknown': [1] } }),
    ).toMatchObject({
      status: 200,
    })
  })

  it('may come without a content type', async () => {
    const alice = await register(server)
    const answer = await alice.ask('POST', `${v3}/createRoom`, {
      raw: '{"name":"x"}',
      headers: { 'content-type': 'text/plain' },
    })
    expect(answer.status).toBe(200)
  })
})

describe('a body that is too large', () => {
  it('is refused', async () => {
    const alice = await register(server)
    const body = { type: 'x', filler: 'x'.repeat(60_000_000) }
    const answer = await alice
      .ask('PUT', alice.dataPath('org.example.big'), { body })
      .catch(() => undefined)
    // The server may close the connection before it has read everything.
    if (answer) expect(answer).toMatchObject({ status: 413, body: { errcode: 'M_TOO_LARGE' } })
    await alice.call('GET', `${v3}/account/whoami`)
  })
})

describe('what nobody serves', () => {
  it.each([
    ['GET', '/_matrix/unknown'],
    ['GET', '/_matrix/client/unknown'],
    ['GET', `${v3}/unknown`],
    ['POST', `${v3}/rooms/x/unknown`],
    ['GET', '/_matrix/media/unknown'],
  ])('is unrecognized: %s %s', async (method, where) => {
    expect(
      await ask(server.clientUrl, method, where, method === 'POST' ? { body: {} } : {}),
    ).toMatchObject({
      status: 404,
      body: { errcode: 'M_UNRECOGNIZED' },
    })
  })

  it.each([
    ['PUT', `${v3}/login`],
    ['DELETE', `${v3}/sync`],
    ['PATCH', `${v3}/createRoom`],
  ])('is unrecognized by its method: %s %s', async (method, where) => {
    const answer = await ask(server.clientUrl, method, where, { body: {} })
    expect(answer).toMatchObject({ status: 405, body: { errcode: 'M_UNRECOGNIZED' } })
  })
})

describe('a parameter of the wrong kind', () => {
  it.each([
    ['a sync timeout that is no number', `${v3}/sync?timeout=soon`],
    ['a sync token that is none', `${v3}/sync?since=nonsense`],
    ['a filter that is no JSON', `${v3}/sync?filter=%7Bnonsense`],
    ['a presence that does not exist', `${v3}/sync?set_presence=asleep`],
  ])('is refused: %s', async (_, where) => {
    const alice = await register(server)
    const answer = await alice.ask('GET', where)
    expect(answer.status).toBe(400)
    expect(answer.body['errcode']).toMatch(/^M_/)
  })

  it('in a path is refused', async () => {
    const alice = await register(server)
    for (const where of [
      path(`${v3}/rooms`, 'not-a-room', 'state'),
      path(`${v3}/rooms`, '!unknown:elsewhere.example', 'state'),
      path(`${v3}/profile`, 'not-a-user'),
    ]) {
      const { status, body } = await alice.ask('GET', where)
      expect([400, 403, 404]).toContain(status)
      expect(body['errcode']).toMatch(/^M_/)
    }
  })

  it('in messages is refused', async () => {
    const { alice, room } = await joinedRoom()
    for (const query of [
      { dir: 'x' },
      { dir: 'b', from: 'nonsense' },
      { dir: 'b', limit: 'many' },
    ]) {
      const answer = await alice.ask('GET', alice.room(room, 'messages'), { query })
      expect(answer.status).toBe(400)
    }
  })
})
