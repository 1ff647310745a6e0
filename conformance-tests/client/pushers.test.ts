import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Client, login, password, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import type { Body } from '../harness/http.ts'

const pushersPath = '/_matrix/client/v3/pushers'
const url = 'https://push.example.org/_matrix/push/v1/notify'

const pusherOf = (pushkey: string, more: Body = {}): Body => ({
  app_id: 'org.example.app',
  pushkey,
  kind: 'http',
  app_display_name: 'App',
  device_display_name: 'Phone',
  lang: 'en',
  data: { url },
  ...more,
})
const set = (client: Client, body: Body) => client.call('POST', `${pushersPath}/set`, { body })
const keysOf = async (client: Client) => {
  const answer = await client.call('GET', pushersPath)
  const { pushers } = z
    .object({ pushers: z.array(z.looseObject({ pushkey: z.string() })) })
    .parse(answer)
  return pushers.map(({ pushkey }) => pushkey)
}
const changePassword = (client: Client, more: Body = {}) =>
  client.call('POST', '/_matrix/client/v3/account/password', {
    body: {
      new_password: `another ${password}`,
      auth: {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: client.userId },
        password,
      },
      ...more,
    },
  })

describe('pushers', () => {
  it('are set, changed and deleted', async () => {
    const alice = await register(server)
    const key = unique('key')
    await set(alice, pusherOf(key, { profile_tag: 'tag' }))
    await set(alice, pusherOf(key, { lang: 'de', data: { url, format: 'event_id_only', x: 1 } }))
    const answer = await alice.call('GET', pushersPath)
    const pusher = { ...pusherOf(key), lang: 'de', data: { url, format: 'event_id_only', x: 1 } }
    expect(answer).toMatchObject({ pushers: [pusher] })
    await set(alice, { app_id: 'org.example.app', pushkey: key, kind: null })
    expect(await keysOf(alice)).toEqual([])
  })

  it.each([
    ['without an address', { data: {} }],
    ['with an address that is none', { data: { url: 'push.example.org' } }],
    ['with another path', { data: { url: 'https://push.example.org/notify' } }],
    ['without data', { data: undefined }],
    ['without a language', { lang: undefined }],
  ])('are refused %s', async (_, more) => {
    const alice = await register(server)
    const answer = await alice.ask('POST', `${pushersPath}/set`, {
      body: JSON.parse(JSON.stringify(pusherOf(unique('key'), more))),
    })
    expect(answer.status).toBe(400)
    expect(await keysOf(alice)).toEqual([])
  })

  it('with the same key are another user’s no more, unless appended', async () => {
    const [alice, bob, carol] = [
      await register(server),
      await register(server),
      await register(server),
    ]
    const key = unique('key')
    await set(alice, pusherOf(key))
    await set(bob, pusherOf(key, { append: true }))
    expect([await keysOf(alice), await keysOf(bob)]).toEqual([[key], [key]])
    await set(carol, pusherOf(key))
    expect([await keysOf(alice), await keysOf(bob), await keysOf(carol)]).toEqual([[], [], [key]])
  })

  it('end with the session that made them', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const [kept, gone] = [unique('key'), unique('key')]
    await set(alice, pusherOf(kept))
    await set(phone, pusherOf(gone))
    await phone.call('POST', '/_matrix/client/v3/logout', { body: {} })
    expect(await keysOf(alice)).toEqual([kept])
  })

  it('of other sessions are deleted when the password changes', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    await set(phone, pusherOf(unique('key')))
    await changePassword(alice)
    expect(await keysOf(alice)).toEqual([])
  })

  it('of the session that changes the password stay', async () => {
    const alice = await register(server)
    const key = unique('key')
    await set(alice, pusherOf(key))
    await changePassword(alice)
    expect(await keysOf(alice)).toEqual([key])
  })

  it('of other sessions stay when they are not signed out', async () => {
    const alice = await register(server)
    const phone = await login(server, alice.userId)
    const key = unique('key')
    await set(phone, pusherOf(key))
    await changePassword(alice, { logout_devices: false })
    expect(await keysOf(alice)).toEqual([key])
  })
})
