/** Notices of whoever runs the server to its users. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { administrator, makesAdministrators } from '../harness/administrator.ts'
import { type Client, inSection, inTimeline, register, unique } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { path } from '../harness/http.ts'

const base = '/_synapse/admin/v1/send_server_notice'

const noticeFor = (user: Client) => ({
  user_id: user.userId,
  content: { msgtype: 'm.text', body: 'hello from server notices!' },
})

async function notify(admin: Client, user: Client, txn?: string): Promise<string> {
  const answer =
    txn === undefined
      ? await admin.call('POST', base, { body: noticeFor(user) })
      : await admin.call('PUT', path(base, txn), { body: noticeFor(user) })
  return z.object({ event_id: z.string() }).parse(answer).event_id
}

/** The room that the user is invited to, and who invites. */
async function invitation(user: Client, since?: string) {
  const options = since === undefined ? {} : { since }
  const seen = await user.syncUntil(({ rooms }) => Object.keys(rooms.invite).length > 0, options)
  const [[room, invite] = []] = Object.entries(seen.rooms.invite)
  if (room === undefined) throw new Error('no invite')
  const first = invite?.invite_state.events[0]
  return { room, sender: first?.sender, next: seen.next_batch }
}

describe.skipIf(!makesAdministrators)('a server notice', () => {
  it('is not sent by a user', async () => {
    const alice = await register(server, 'alice')
    expect(await alice.ask('POST', base)).toMatchObject({
      status: 403,
      body: { errcode: 'M_FORBIDDEN' },
    })
  })

  it('is sent by an administrator, in a room to which the user is invited', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server, 'alice')])
    const event = await notify(admin, alice)
    const { room, sender } = await invitation(alice)
    expect(sender).toBe(`@_server:${server.name}`)
    await alice.join(room)
    const seen = await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === event))
    const tags = seen.rooms.join[room]?.account_data.events.find(({ type }) => type === 'm.tag')
    expect(tags?.content).toMatchObject({ tags: { 'm.server_notice': {} } })
    const answer = await alice.ask('PUT', alice.room(room, 'send', 'm.room.message', 't'), {
      body: { msgtype: 'm.text', body: 'who is there?' },
    })
    expect(answer.status).toBe(403)
  })

  it('cannot be rejected', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server, 'alice')])
    await notify(admin, alice)
    const { room } = await invitation(alice)
    expect(await alice.ask('POST', alice.room(room, 'leave'), { body: {} })).toMatchObject({
      status: 403,
      body: { errcode: 'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM' },
    })
  })

  it('comes in the same room when the user has left it', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server, 'alice')])
    await notify(admin, alice)
    const { room } = await invitation(alice)
    await alice.join(room)
    await alice.leave(room)
    const { next_batch: since } = await alice.syncUntil(
      ({ rooms }) => rooms.join[room] === undefined,
    )
    const event = await notify(admin, alice)
    expect((await invitation(alice, since)).room).toBe(room)
    await alice.join(room)
    await alice.syncUntil(inSection('join', room))
    await alice.syncUntil(inTimeline(room, ({ event_id }) => event_id === event))
  })

  it('is sent once with one transaction', async () => {
    const [admin, alice] = await Promise.all([administrator(), register(server, 'alice')])
    const txn = unique('t')
    const event = await notify(admin, alice, txn)
    expect(await notify(admin, alice, txn)).toBe(event)
    expect(await notify(admin, alice, unique('t'))).not.toBe(event)
  })

  it('is for nobody who is not there', async () => {
    const admin = await administrator()
    const body = { user_id: `@${unique('nobody')}:${server.name}`, content: {} }
    expect((await admin.ask('POST', base, { body })).status).toBe(404)
  })
})
