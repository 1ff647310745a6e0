/** What another server gives us to sign: nothing of it is signed but a membership of our own user in that room. */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Client, inSection, register } from '../harness/client.ts'
import { server } from '../harness/fixtures.ts'
import { type Body, isBody } from '../harness/http.ts'
import { createPeer, type Peer } from '../harness/peer.ts'
import type { PeerRoom } from '../harness/room-builder.ts'
import { underTestIsSynapse } from '../harness/settings.ts'

let peer: Peer
let alice: Client
let victim: Client
let room: PeerRoom
let creator: string
/** What the peer makes of an honest answer to make_join, make_leave and make_knock. */
let spoil: (answer: Body) => Body

beforeAll(async () => {
  peer = await createPeer()
  ;[alice, victim] = await Promise.all([register(server, 'alice'), register(server, 'victim')])
  creator = peer.user('creator')
  room = peer.createRoom('11', { joinRule: { join_rule: 'knock' } })
  peer.on('GET', /\/make_(join|leave|knock)\/([^/]+)\/([^/]+)$/, (_, match) => {
    const [, membership = '', , user = ''] = match
    const draft = { type: 'm.room.member', sender: user, stateKey: user, content: { membership } }
    return spoil({ room_version: '11', event: room.template(draft) })
  })
  // What was signed is never taken, so that the next attempt finds everything as it was.
  peer.on('PUT', /\/send_(join|leave|knock)\//, () => ({
    status: 403,
    body: { errcode: 'M_FORBIDDEN', error: 'no' },
  }))
  return () => peer[Symbol.asyncDispose]()
})

const ofEvent = (change: Body) => (answer: Body) => ({
  ...answer,
  event: { ...Object(answer['event']), ...change },
})
const without = (name: string) => ofEvent({ [name]: undefined })
const ofContent = (change: Body) => (answer: Body) =>
  ofEvent({ content: { ...Object(Object(answer['event'])['content']), ...change } })(answer)
const levels = { users: { '@mallory:localhost:2': 100 } }
const ids = (count: number) =>
  Array.from({ length: count }, (_, n) => `$${`${n}`.padStart(43, 'x')}`)

const variants: readonly (readonly [string, (answer: Body) => Body])[] = [
  ['is of power levels', ofEvent({ type: 'm.room.power_levels', state_key: '', content: levels })],
  ['is of power levels, under the user’s name', ofEvent({ type: 'm.room.power_levels' })],
  ['creates a room', ofEvent({ type: 'm.room.create', state_key: '' })],
  ['is a message', ofEvent({ type: 'm.room.message', content: { body: 'I, the undersigned' } })],
  ['is a tombstone', ofEvent({ type: 'm.room.tombstone', state_key: '' })],
  ['has no type', without('type')],
  ['has a number for a type', ofEvent({ type: 5 })],
  [
    'is sent by another user of this server',
    (answer) => ofEvent({ sender: victim.userId })(answer),
  ],
  ['is sent by the other server', (answer) => ofEvent({ sender: creator })(answer)],
  ['is sent by nobody', without('sender')],
  ['has a list for a sender', ofEvent({ sender: ['@a:b'] })],
  ['is about another user', (answer) => ofEvent({ state_key: victim.userId })(answer)],
  ['is about a user of the other server', (answer) => ofEvent({ state_key: creator })(answer)],
  ['is about nobody', ofEvent({ state_key: '' })],
  ['is no state', without('state_key')],
  ['is of another room', ofEvent({ room_id: '!elsewhere:localhost:2' })],
  ['is of a room of this server', (answer) => ofEvent({ room_id: `!here:${server.name}` })(answer)],
  ['is of no room', without('room_id')],
  ['has a number for a room', ofEvent({ room_id: 1 })],
  ['bans', ofContent({ membership: 'ban' })],
  ['invites', ofContent({ membership: 'invite' })],
  ['joins', ofContent({ membership: 'join' })],
  ['leaves', ofContent({ membership: 'leave' })],
  ['has no membership', ofContent({ membership: undefined })],
  ['has a list for a membership', ofContent({ membership: ['join'] })],
  ['has no content', without('content')],
  ['has a list for a content', ofEvent({ content: [] })],
  ['brings levels in its content', ofContent(levels)],
  ['brings a third-party invite', ofContent({ third_party_invite: { signed: { token: 'x' } } })],
  ['brings a statement', ofContent({ 'org.example.statement': 'signed by your server' })],
  ['brings a name and a picture', ofContent({ displayname: 'Mallory', avatar_url: 'mxc://a/b' })],
  ['has the user vouched for by nobody', ofContent({ join_authorised_via_users_server: 'nobody' })],
  ['has a number that vouches', ofContent({ join_authorised_via_users_server: 5 })],
  ['redacts', ofEvent({ redacts: ids(1)[0] })],
  ['has members that nobody knows', ofEvent({ 'org.example.statement': 'sign me' })],
  ['brings its own hash', ofEvent({ hashes: { sha256: 'A'.repeat(43) } })],
  [
    'brings signatures',
    (answer) => ofEvent({ signatures: { [server.name]: { 'ed25519:x': 'A' } } })(answer),
  ],
  ['brings unsigned data', ofEvent({ unsigned: { age: 5, prev_content: levels } })],
  ['has an origin', ofEvent({ origin: 'localhost:2' })],
  ['names itself', ofEvent({ event_id: '$mine:localhost:2' })],
  ['is from the beginning of time', ofEvent({ origin_server_ts: 0 })],
  ['is from before it', ofEvent({ origin_server_ts: -1 })],
  ['is from the end of time', ofEvent({ origin_server_ts: Number.MAX_SAFE_INTEGER })],
  ['has a text for a time', ofEvent({ origin_server_ts: 'now' })],
  ['has a negative depth', ofEvent({ depth: -1 })],
  ['is deeper than there is', ofEvent({ depth: 2 ** 53 })],
  ['has a fraction for a depth', ofEvent({ depth: 1.5 })],
  ['has a text for a depth', ofEvent({ depth: 'deep' })],
  ['follows too many events', ofEvent({ prev_events: ids(21) })],
  ['follows ten thousand events', ofEvent({ prev_events: ids(10_000) })],
  ['follows what is no event', ofEvent({ prev_events: [{ a: 1 }, 5, null] })],
  ['says not what it follows', without('prev_events')],
  ['is allowed by too many events', ofEvent({ auth_events: ids(11) })],
  ['is allowed by what is no event', ofEvent({ auth_events: 'all of them' })],
  ['says not what allows it', without('auth_events')],
  ['is null', (answer) => ({ ...answer, event: null })],
  ['is a list', (answer) => ({ ...answer, event: [answer['event']] })],
  ['is absent', (answer) => ({ ...answer, event: undefined })],
  ['is of an unknown room version', (answer) => ({ ...answer, room_version: '99' })],
  ['is of room version 1', (answer) => ({ ...answer, room_version: '1' })],
  ['is of room version 12', (answer) => ({ ...answer, room_version: '12' })],
  ['is of a version that is a number', (answer) => ({ ...answer, room_version: 11 })],
]

/** Synapse signs these members of a template as they came, which no sentence forbids. */
const copied =
  /^(brings (?!its own hash|signatures)|has the user vouched|has a number that vouches|redacts|has members)/
const isCopied = (name: string) => underTestIsSynapse && copied.test(name)

const topLevel = new Set([
  ...['type', 'sender', 'state_key', 'room_id', 'content', 'prev_events', 'auth_events', 'depth'],
  ...['origin_server_ts', 'hashes', 'signatures', 'event_id', 'origin', 'prev_state', 'unsigned'],
])
const inContent = new Set(['membership', 'displayname', 'avatar_url', 'reason', 'is_direct'])

/** Everything that the server signed for the peer is what its own user wanted. */
function expectOwnWords(signed: readonly Body[], membership: string): void {
  for (const event of signed) {
    expect(event).toMatchObject({
      type: 'm.room.member',
      sender: alice.userId,
      state_key: alice.userId,
      room_id: room.roomId,
      content: { membership },
    })
    expect(Object.keys(event).filter((name) => !topLevel.has(name))).toEqual([])
    expect(Object.keys(Object(event['content'])).filter((name) => !inContent.has(name))).toEqual([])
    expect(Object(event['content'])['displayname']).not.toBe('Mallory')
    expect(Object.keys(Object(event['signatures']))).toEqual([server.name])
    expect(JSON.stringify(Object(event['unsigned']))).not.toContain('mallory')
  }
}

const sent = (kind: string, from: number) =>
  peer.received.slice(from).filter(({ path }) => path.includes(`/send_${kind}/`))

describe('a template that', () => {
  afterEach(() => expect(peer.complaints).toEqual([]))

  describe.each(variants.filter(([name]) => !isCopied(name)))('%s', (_, change) => {
    it.each(['join', 'knock'])('makes nobody sign it for a %s', async (kind) => {
      spoil = change
      const from = peer.received.length
      const path = `/_matrix/client/v3/${kind}/${encodeURIComponent(room.roomId)}`
      const query = { via: peer.name, server_name: peer.name }
      const { status } = await alice.ask('POST', path, { body: {}, query })
      expect(status).toBeGreaterThanOrEqual(400)
      expectOwnWords(
        sent(kind, from).map(({ body }) => body),
        kind,
      )
    })

    it('makes nobody sign it for a leave', async () => {
      spoil = change
      const from = peer.received.length
      const content = { membership: 'invite' }
      const draft = { type: 'm.room.member', sender: creator, stateKey: alice.userId, content }
      const invite = room.build(draft)
      const uri = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(invite.id)}`
      const asked = { room_version: '11', event: invite.json, invite_room_state: [] }
      expect((await peer.ask(server, 'PUT', uri, asked)).status).toBe(200)
      await alice.syncUntil(inSection('invite', room.roomId))
      await alice.leave(room.roomId)
      expect((await alice.sync()).rooms.invite[room.roomId]).toBeUndefined()
      expectOwnWords(
        sent('leave', from).map(({ body }) => body),
        'leave',
      )
    })
  })

  it('is honest is signed', async () => {
    spoil = (answer) => answer
    const from = peer.received.length
    const path = `/_matrix/client/v3/knock/${encodeURIComponent(room.roomId)}`
    await alice.ask('POST', path, { body: {}, query: { via: peer.name, server_name: peer.name } })
    expect(sent('knock', from)).toHaveLength(1)
    expect(variants.length).toBeGreaterThan(50)
  })
})

describe('an invite that', () => {
  const member = (more: Body) => ({ type: 'm.room.member', ...more })
  it.each<[string, () => Body]>([
    ['is of power levels', () => ({ type: 'm.room.power_levels', content: levels })],
    ['is a message', () => ({ type: 'm.room.message', content: { body: 'sign this' } })],
    ['joins', () => member({ content: { membership: 'join' } })],
    ['bans', () => member({ content: { membership: 'ban' } })],
    ['leaves', () => member({ content: { membership: 'leave' } })],
    ['knocks', () => member({ content: { membership: 'knock' } })],
    ['has no membership', () => member({ content: {} })],
    ['is for a user of another server', () => member({ stateKey: '@u:localhost:2' })],
    ['is for what is no user', () => member({ stateKey: 'nobody' })],
    ['is for nobody', () => member({ stateKey: undefined })],
    ['comes from a user of ours', () => member({ sender: victim.userId })],
    ['comes from a third server', () => member({ sender: '@mallory:localhost:2' })],
    ['is of another room', () => member({ more: { room_id: '!other:localhost:2' } })],
  ])('%s is not signed', async (_, change) => {
    const honest = {
      sender: creator,
      stateKey: alice.userId,
      content: { membership: 'invite' },
      type: '',
    }
    const event = room.build({ ...honest, ...change() })
    const uri = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(event.id)}`
    const { status, body } = await peer.ask(server, 'PUT', uri, {
      ...{ room_version: '11', event: event.json, invite_room_state: [] },
    })
    expect(status).toBeGreaterThanOrEqual(400)
    expect(isBody(body['event'])).toBe(false)
    expect((await alice.sync()).rooms.invite[room.roomId]).toBeUndefined()
  })
})
