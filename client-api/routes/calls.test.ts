import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { testServer } from '../test-server.ts'
import { callRoutes } from './calls.ts'

const clock = { now: () => 1_700_000_000_500 }

describe('servers for calls', () => {
  it('give credentials that the shared secret proves, for a while', async () => {
    const config = {
      turnUris: ['turn:turn.example.org?transport=udp'],
      turnSharedSecret: 'known to both',
      turnLifetimeMs: 3_600_000,
    }
    await using api = await testServer(callRoutes({ config, clock }))
    const { json } = await api.ask('GET', '/v3/voip/turnServer', { token: 'alice' })
    const username = '1700003600:@alice:example.org'
    expect(json).toEqual({
      username,
      password: createHmac('sha1', 'known to both').update(username).digest('base64'),
      uris: config.turnUris,
      ttl: 3_600,
    })
  })

  it('are none unless the operator names them', async () => {
    await using api = await testServer(callRoutes({ config: {}, clock }))
    expect((await api.ask('GET', '/v3/voip/turnServer', { token: 'alice' })).json).toEqual({})
    const where = '/unstable/org.matrix.msc4143/rtc/transports'
    const { json } = await api.ask('GET', where, { token: 'alice' })
    expect(json).toEqual({ rtc_transports: [] })
  })

  it('carry calls of several people', async () => {
    const config = { livekitUrls: ['https://rtc.example.org'] }
    await using api = await testServer(callRoutes({ config, clock }))
    const where = '/unstable/org.matrix.msc4143/rtc/transports'
    const { json } = await api.ask('GET', where, { token: 'alice' })
    const focus = { type: 'livekit', livekit_service_url: 'https://rtc.example.org' }
    expect(json).toEqual({ rtc_transports: [focus] })
  })
})
