import { describe, expect, it } from 'vitest'
import {
  alice,
  bob,
  carol,
  type Draft,
  dave,
  furnishedRoom,
  joinRules,
  membership,
  newRoom,
  powerLevels,
  type Room,
  rulesFor,
  topic,
} from '../../conformance-tests/properties/room-builder.ts'
import { signingKeyFromSeed } from '../crypto/ed25519.ts'
import { signJson } from '../crypto/sign-json.ts'
import type { Pdu } from '../events/event.ts'
import { parseRoomId, parseServerName } from '../ids.ts'
import { authEventKeys } from './auth-events.ts'
import { authorize, checkAuthEvents } from './authorize.ts'

const versions = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12']
const from = (first: number) => versions.filter((version) => Number(version) >= first)
const until = (last: number) => versions.filter((version) => Number(version) <= last)

/** 'allow', or the reason for which the event is rejected in the room's present state. */
function verdict(room: Room, draft: Draft, change: Partial<Pdu> = {}): string {
  const event = { ...room.main.fork().send(draft), ...change }
  const answer = authorize(event, room.rules, room.main.read)
  return answer.kind === 'allow' ? 'allow' : answer.reason
}

describe.each(versions)('in room version %s', (version) => {
  const room = furnishedRoom(version, { joined: [bob, carol] })
  const levels = (content: object) => {
    const other = furnishedRoom(version, { joined: [bob, carol], levels: { ...content } })
    return (draft: Draft) => verdict(other, draft)
  }

  it('lets a member send messages and an outsider none', () => {
    expect(verdict(room, { type: 'm.room.message', sender: bob })).toBe('allow')
    expect(verdict(room, { type: 'm.room.message', sender: dave })).toBe(
      'the sender is not in the room',
    )
  })

  it('asks 50 for state and nothing for messages where levels say nothing', () => {
    expect(verdict(room, topic('x', bob))).toBe('sending m.room.topic needs more power')
    expect(verdict(room, topic('x', alice))).toBe('allow')
  })

  it('gives the creator power in a room without power levels', () => {
    const bare = newRoom(version)
    bare.main.send(membership(alice, 'join'))
    expect(verdict(bare, topic('x', alice))).toBe('allow')
    bare.main.send(joinRules('public'))
    bare.main.send(membership(bob, 'join'))
    expect(verdict(bare, topic('x', bob))).toContain('more power')
  })

  it('reserves state that is keyed by a user for that user', () => {
    const own = { type: 'org.example.own', sender: bob, stateKey: bob }
    const ask = levels({ events: { 'org.example.own': 0 } })
    expect(ask(own)).toBe('allow')
    expect(ask({ ...own, stateKey: carol })).toBe('the state key names another user')
  })

  it('lets the creator join right after the create event, and nobody else', () => {
    const bare = newRoom(version)
    expect(verdict(bare, membership(alice, 'join'))).toBe('allow')
    expect(verdict(bare, membership(bob, 'join'))).toBe('the user is not invited')
    expect(verdict(bare, membership(alice, 'join'), { prevEvents: [] })).toBe(
      'the user is not invited',
    )
  })

  it('follows the join rules public, invite and unknown', () => {
    expect(verdict(room, membership(dave, 'join'))).toBe('allow')
    const closed = furnishedRoom(version, { joinRule: 'invite' })
    expect(verdict(closed, membership(dave, 'join'))).toBe('the user is not invited')
    closed.main.send(membership(dave, 'invite', alice))
    expect(verdict(closed, membership(dave, 'join'))).toBe('allow')
    const odd = furnishedRoom(version, { joinRule: 'org.example.moon' })
    expect(verdict(odd, membership(dave, 'join'))).toBe('the join rule lets nobody join')
  })

  it('does not let one user join for another, nor a banned one join', () => {
    expect(verdict(room, membership(dave, 'join', alice))).toBe('nobody can join for another user')
    const strict = furnishedRoom(version)
    strict.main.send(membership(dave, 'ban', alice))
    expect(verdict(strict, membership(dave, 'join'))).toBe('the user is banned')
  })

  it('lets members invite as the invite level allows', () => {
    expect(verdict(room, membership(dave, 'invite', bob))).toBe('allow')
    expect(verdict(room, membership(carol, 'invite', bob))).toBe('the user is in the room')
    expect(verdict(room, membership(bob, 'invite', dave))).toBe('the sender is not in the room')
    expect(levels({ invite: 50 })(membership(dave, 'invite', bob))).toBe(
      'inviting needs more power',
    )
  })

  it('lets a user leave who is in or invited, and nobody else', () => {
    expect(verdict(room, membership(bob, 'leave'))).toBe('allow')
    expect(verdict(room, membership(dave, 'leave'))).toBe('the user is not in the room')
    const closed = furnishedRoom(version, { joinRule: 'invite' })
    closed.main.send(membership(dave, 'invite', alice))
    expect(verdict(closed, membership(dave, 'leave'))).toBe('allow')
  })

  it('kicks and bans downwards only', () => {
    const ask = levels({
      users: {
        ...(rulesFor(version).privilegedCreators ? {} : { [alice]: 100 }),
        [bob]: 50,
        [carol]: 50,
      },
    })
    expect(ask(membership(carol, 'leave', bob))).toBe('kicking this user needs more power')
    expect(ask(membership(carol, 'ban', bob))).toBe('banning this user needs more power')
    expect(ask(membership(dave, 'ban', bob))).toBe('allow')
    expect(ask(membership(bob, 'leave', alice))).toBe('allow')
    expect(ask(membership(alice, 'ban', bob))).toBe('banning this user needs more power')
  })

  it('unbans with the ban level and the kick level both', () => {
    const users = { ...(rulesFor(version).privilegedCreators ? {} : { [alice]: 100 }), [bob]: 50 }
    const setup = (content: object) => {
      const other = furnishedRoom(version, { joined: [bob], levels: { users, ...content } })
      other.main.send(membership(dave, 'ban', alice))
      return verdict(other, membership(dave, 'leave', bob))
    }
    expect(setup({})).toBe('allow')
    expect(setup({ ban: 60 })).toBe('unbanning needs more power')
    expect(setup({ kick: 60 })).toBe('kicking this user needs more power')
  })

  it('rejects a membership without state key, without or with an unknown membership', () => {
    expect(
      verdict(room, { type: 'm.room.member', sender: bob, content: { membership: 'join' } }),
    ).toBe('a membership has a state key')
    expect(verdict(room, { type: 'm.room.member', sender: bob, stateKey: bob })).toBe(
      'a membership event names no membership',
    )
    expect(verdict(room, membership(bob, 'hovering'))).toBe('the membership is not known')
  })

  it('keeps users of other servers out of a room that does not federate', () => {
    const local = newRoom(version, { createContent: { 'm.federate': false } })
    local.main.send(membership(alice, 'join'))
    local.main.send(joinRules('public'))
    expect(verdict(local, membership(bob, 'join'))).toBe('the room does not federate')
    expect(verdict(local, membership('@eve:a.example', 'join'))).toBe('allow')
  })

  it('rejects a create event that follows something or is of an unknown version', () => {
    const { create, rules } = newRoom(version)
    const ask = (change: Partial<Pdu>) =>
      authorize({ ...create, ...change }, rules, () => undefined)
    expect(ask({})).toEqual({ kind: 'allow' })
    expect(ask({ prevEvents: [create.eventId] }).kind).toBe('reject')
    expect(ask({ content: { ...create.content, room_version: '99' } }).kind).toBe('reject')
    expect(ask({ content: { ...create.content, room_version: 12 } }).kind).toBe('reject')
  })

  it('rejects everything where there is no create event', () => {
    const event = room.main.fork().send({ type: 'm.room.message', sender: bob })
    expect(authorize(event, room.rules, () => undefined).kind).toBe('reject')
  })

  it('lets nobody change levels above their own', () => {
    const users = {
      ...(rulesFor(version).privilegedCreators ? {} : { [alice]: 100 }),
      [bob]: 50,
      [carol]: 50,
    }
    const now = { users, events: { 'm.room.power_levels': 50, high: 80 }, ban: 70 }
    const ask = (content: object) =>
      levels(now)({ ...powerLevels({ ...now, ...content }), sender: bob })
    expect(ask({})).toBe('allow')
    expect(ask({ users: { ...users, [dave]: 50 } })).toBe('allow')
    expect(ask({ users: { ...users, [dave]: 51 } })).toContain('user with a level above')
    expect(ask({ users: { ...users, [carol]: 0 } })).toContain('level or above would change')
    expect(ask({ users: { ...users, [bob]: 0 } })).toBe('allow')
    expect(ask({ ban: 50 })).toContain('a level above')
    expect(ask({ kick: 51 })).toContain('a level above')
    expect(ask({ kick: 20 })).toBe('allow')
    expect(ask({ events: { 'm.room.power_levels': 50 } })).toContain('event type')
    expect(ask({ events: { ...now.events, low: 51 } })).toContain('event type')
    expect(ask({ events: { ...now.events, low: 50 } })).toBe('allow')
    expect(ask({ users: { ...users, nobody: 1 } })).toBe('users has a key that is not a user id')
    expect(ask({ users: { ...users, [dave]: 'many' } })).toBe('users is not a map of levels')
    expect(ask({ users: [] })).toBe('users is not a map of levels')
  })
})

describe('what differs between room versions', () => {
  it.each(until(5))('lets a server send aliases for itself (v%s)', (version) => {
    const room = furnishedRoom(version)
    const aliases = { type: 'm.room.aliases', sender: dave, content: { aliases: [] } }
    expect(verdict(room, { ...aliases, stateKey: 'd.example' })).toBe('allow')
    expect(verdict(room, { ...aliases, stateKey: 'a.example' })).toBe('aliases of another server')
    expect(verdict(room, aliases)).toBe('aliases are state')
  })

  it.each(from(6))('treats aliases as any state (v%s)', (version) => {
    const room = furnishedRoom(version)
    const aliases = { type: 'm.room.aliases', sender: dave, stateKey: 'd.example' }
    expect(verdict(room, aliases)).toBe('the sender is not in the room')
  })

  it.each(until(2))('authorises redactions by level or server (v%s)', (version) => {
    const room = furnishedRoom(version, { joined: [bob] })
    const redaction = { type: 'm.room.redaction', sender: bob }
    expect(verdict(room, { ...redaction, redacts: '$x:b.example' })).toBe('allow')
    expect(verdict(room, { ...redaction, redacts: '$x:a.example' })).toBe(
      'redacting needs more power',
    )
    expect(verdict(room, { ...redaction, sender: alice, redacts: '$x:b.example' })).toBe('allow')
  })

  it.each(from(3))('leaves redactions to those who apply them (v%s)', (version) => {
    const room = furnishedRoom(version, { joined: [bob] })
    expect(verdict(room, { type: 'm.room.redaction', sender: bob, redacts: '$x' })).toBe('allow')
  })

  it.each(versions)('checks notification levels from version 6 on (v%s)', (version) => {
    const users = { ...(rulesFor(version).privilegedCreators ? {} : { [alice]: 100 }), [bob]: 50 }
    const now = { users, events: { 'm.room.power_levels': 50 } }
    const room = furnishedRoom(version, { joined: [bob], levels: now })
    const answer = verdict(room, {
      ...powerLevels({ ...now, notifications: { room: 60 } }),
      sender: bob,
    })
    expect(answer === 'allow').toBe(Number(version) < 6)
  })

  it.each(until(9))('reads levels that are strings (v%s)', (version) => {
    const room = furnishedRoom(version, { joined: [bob], levels: { events_default: ' +010 ' } })
    expect(verdict(room, { type: 'm.room.message', sender: bob })).toContain('more power')
    expect(verdict(room, { type: 'm.room.message', sender: alice })).toBe('allow')
    expect(verdict(room, powerLevels({ users: { [alice]: '100' } }))).toBe('allow')
  })

  it.each(until(5))('cuts levels that are floats (v%s)', (version) => {
    const room = furnishedRoom(version, { joined: [bob], levels: { events_default: 0.9 } })
    expect(verdict(room, { type: 'm.room.message', sender: bob })).toBe('allow')
  })

  it.each(from(10))('wants levels to be integers (v%s)', (version) => {
    const room = furnishedRoom(version)
    expect(verdict(room, powerLevels({ ban: '50' }))).toBe('ban is not a level')
    expect(verdict(room, powerLevels({ ban: null }))).toBe('ban is not a level')
    expect(verdict(room, powerLevels({ events: { x: '5' } }))).toBe('events is not a map of levels')
    expect(verdict(room, powerLevels({ notifications: [] }))).toContain('notifications')
    expect(verdict(room, powerLevels({ users: { [bob]: '5' } }))).toBe(
      'users is not a map of levels',
    )
  })

  it.each(versions)('knows knocking from version 7 on (v%s)', (version) => {
    const room = furnishedRoom(version, { joinRule: 'knock' })
    const answer = verdict(room, membership(dave, 'knock'))
    if (Number(version) < 7) return expect(answer).toBe('the membership is not known')
    expect(answer).toBe('allow')
    expect(verdict(room, membership(dave, 'knock', alice))).toBe(
      'nobody can knock for another user',
    )
    expect(verdict(room, membership(alice, 'knock'))).toContain('membership is join')
    room.main.send(membership(dave, 'knock'))
    expect(verdict(room, membership(dave, 'knock'))).toBe('allow')
    expect(verdict(room, membership(dave, 'join'))).toBe('the user is not invited')
    expect(verdict(room, membership(dave, 'leave'))).toBe('allow')
    expect(verdict(furnishedRoom(version), membership(dave, 'knock'))).toContain('knocked')
  })

  it.each(versions)('knows knock_restricted from version 10 on (v%s)', (version) => {
    const room = furnishedRoom(version, { joinRule: 'knock_restricted' })
    expect(verdict(room, membership(dave, 'knock')) === 'allow').toBe(Number(version) >= 10)
  })

  it.each(versions)('knows restricted joins from version 8 on (v%s)', (version) => {
    const room = furnishedRoom(version, {
      joinRule: 'restricted',
      joined: [],
      levels: { invite: 50 },
    })
    room.main.send(membership(bob, 'invite', alice))
    room.main.send(membership(bob, 'join'))
    const through = (user: string) => ({
      ...membership(dave, 'join'),
      content: { membership: 'join', join_authorised_via_users_server: user },
    })
    const answer = verdict(room, through(alice))
    if (Number(version) < 8) return expect(answer).toBe('the join rule lets nobody join')
    expect(answer).toBe('allow')
    expect(verdict(room, through(bob))).toBe('who vouches for the join may not invite')
    expect(verdict(room, through(carol))).toBe('who vouches for the join is not in the room')
    expect(verdict(room, membership(dave, 'join'))).toBe('no member vouches for the join')
    room.main.send(membership(dave, 'invite', alice))
    expect(verdict(room, membership(dave, 'join'))).toBe('allow')
  })

  it.each(until(10))('wants a creator in the create event (v%s)', (version) => {
    const { create, rules } = newRoom(version)
    const event = { ...create, content: { room_version: version } }
    expect(authorize(event, rules, () => undefined).kind).toBe('reject')
  })

  it.each(until(11))('wants the room id to be of the sender’s server (v%s)', (version) => {
    const { create, rules } = newRoom(version)
    const event = { ...create, roomId: parseRoomId('!room:b.example') }
    expect(authorize(event, rules, () => undefined).kind).toBe('reject')
  })

  it('takes the creator of version 10 from the content', () => {
    const room = newRoom('10', { createContent: { creator: bob } })
    expect(verdict(room, membership(bob, 'join'))).toBe('allow')
    expect(verdict(room, membership(alice, 'join'))).not.toBe('allow')
  })

  describe('creators of version 12', () => {
    const createContent = { additional_creators: [bob] }

    it('outrank every level, each other excepted', () => {
      const room = furnishedRoom('12', {
        createContent,
        joined: [bob, carol],
        levels: { users: { [carol]: 9_007_199_254_740_991 } },
      })
      expect(verdict(room, membership(carol, 'leave', bob))).toBe('allow')
      expect(verdict(room, membership(alice, 'leave', bob))).toContain('more power')
      expect(verdict(room, membership(alice, 'leave', carol))).toContain('more power')
      expect(verdict(room, { ...powerLevels({ users: {} }), sender: bob })).toBe('allow')
    })

    it('have no entry in the levels', () => {
      const room = furnishedRoom('12', { createContent })
      expect(verdict(room, powerLevels({ users: { [alice]: 100 } }))).toBe(
        'power levels name a creator',
      )
      expect(verdict(room, powerLevels({ users: { [bob]: 0 } }))).toBe(
        'power levels name a creator',
      )
    })

    it('do not all join without an invite', () => {
      const room = newRoom('12', { createContent })
      expect(verdict(room, membership(bob, 'join'))).toBe('the user is not invited')
    })

    it('are a list of user ids', () => {
      const { create, rules } = newRoom('12')
      const ask = (additional: unknown) => {
        const content = JSON.parse(JSON.stringify({ additional_creators: additional }))
        return authorize({ ...create, content }, rules, () => undefined).kind
      }
      expect(ask([bob])).toBe('allow')
      expect(ask(bob)).toBe('reject')
      expect(ask(['bob'])).toBe('reject')
      expect(ask([1])).toBe('reject')
    })

    it('made an event without room id', () => {
      const { create, rules } = newRoom('12')
      const event = { ...create, json: { ...create.json, room_id: create.roomId } }
      expect(authorize(event, rules, () => undefined).kind).toBe('reject')
    })
  })
})

describe('a third-party invite', () => {
  const server = parseServerName('identity.example')
  const key = signingKeyFromSeed('ed25519:0', new Uint8Array(32).fill(1))
  const other = signingKeyFromSeed('ed25519:0', new Uint8Array(32).fill(2))
  const invitation = {
    type: 'm.room.third_party_invite',
    sender: bob,
    stateKey: 'token',
    content: { public_keys: [{ public_key: other.publicKey }, { public_key: key.publicKey }] },
  }
  const room = furnishedRoom('11', { joinRule: 'invite' })
  room.main.send(membership(bob, 'invite', alice))
  room.main.send(membership(bob, 'join'))
  const accepted = (signed: object, sender: string = bob) => ({
    ...membership(dave, 'invite', sender),
    content: { membership: 'invite', third_party_invite: { signed: { ...signed } } },
  })
  const signed = signJson({ mxid: dave, token: 'token' }, server, key)

  it('may be sent by those who may invite', () => {
    expect(verdict(room, invitation)).toBe('allow')
    expect(
      verdict(furnishedRoom('11', { levels: { invite: 50 }, joined: [bob] }), invitation),
    ).toContain('more power')
  })

  it('is accepted when one of its keys signed the user and the token', () => {
    room.main.send(invitation)
    expect(verdict(room, accepted(signed))).toBe('allow')
  })

  it.each([
    ['of an unknown token', accepted(signJson({ mxid: dave, token: 'none' }, server, key))],
    ['for another user', accepted(signJson({ mxid: carol, token: 'token' }, server, key))],
    ['sent by somebody else', accepted(signed, alice)],
    ['changed after signing', accepted({ ...signed, extra: 1 })],
    ['without signature', accepted({ mxid: dave, token: 'token' })],
    [
      'signed by nobody we know',
      accepted({ ...signed, signatures: { x: { 'ed25519:0': 'AAAA' } } }),
    ],
    [
      'without signed',
      { ...accepted({}), content: { membership: 'invite', third_party_invite: {} } },
    ],
  ])('is refused %s', (_, draft) => {
    expect(verdict(room, draft)).not.toBe('allow')
  })

  it('does not bring back a banned user', () => {
    const strict = furnishedRoom('11', { joined: [bob] })
    strict.main.send(invitation)
    strict.main.send(membership(dave, 'ban', alice))
    expect(verdict(strict, accepted(signed))).toBe('the user is banned')
  })
})

describe.each(versions)('the auth events of an event in room version %s', (version) => {
  const room = furnishedRoom(version, { joined: [bob] })
  const message = room.main.fork().send({ type: 'm.room.message', sender: bob })
  const nothing = () => false
  const named = (event: Pdu) =>
    event.authEvents.map((id) => room.events.get(id)).filter((e) => e !== undefined)
  const ask = (auth: readonly Pdu[], isRejected: (id: string) => boolean = nothing) =>
    checkAuthEvents(message, room.rules, auth, isRejected).kind

  it('pass as the selection algorithm chose them', () => {
    expect(ask(named(message))).toBe('allow')
    for (const event of room.events.values()) {
      expect(checkAuthEvents(event, room.rules, named(event), nothing)).toEqual({ kind: 'allow' })
    }
  })

  it('do not name a key twice, a rejected event, a message or what is not selected', () => {
    const [first] = named(message)
    const rules = room.main.read('m.room.join_rules', '')
    if (first === undefined || rules === undefined) throw new Error('the room lacks events')
    expect(ask([...named(message), first])).toBe('reject')
    expect(ask([...named(message), rules])).toBe('reject')
    expect(ask([...named(message), message])).toBe('reject')
    expect(ask(named(message), (id) => id === first.eventId)).toBe('reject')
  })

  it('are of the same room', () => {
    const [first, ...others] = named(message)
    if (first === undefined) throw new Error('the room lacks events')
    expect(ask([{ ...first, roomId: parseRoomId('!other:a.example') }, ...others])).toBe('reject')
  })

  it('name the create event up to version 11, where version 12 has the room id', () => {
    const withoutCreate = named(message).filter((event) => event.type !== 'm.room.create')
    expect(ask(withoutCreate)).toBe(Number(version) < 12 ? 'reject' : 'allow')
    const isCreate = (id: string) => id === room.create.eventId
    expect(ask(named(message), isCreate)).toBe('reject')
    if (version === '12') expect(ask([...named(message), room.create])).toBe('reject')
  })
})

describe('the selection of auth events', () => {
  const rules = rulesFor('11')
  const keys = (draft: Draft) =>
    authEventKeys({ sender: alice, content: {}, ...draft }, rules).map((key) =>
      key.replace('\0', '|'),
    )

  it('takes create, levels and the sender for a message', () => {
    expect(keys({ type: 'm.room.message' })).toEqual([
      'm.room.create|',
      'm.room.power_levels|',
      `m.room.member|${alice}`,
    ])
  })

  it('takes the target and the join rules for an invite, the target alone for a ban', () => {
    expect(keys(membership(bob, 'invite', alice)).slice(3)).toEqual([
      `m.room.member|${bob}`,
      'm.room.join_rules|',
    ])
    expect(keys(membership(bob, 'ban', alice)).slice(3)).toEqual([`m.room.member|${bob}`])
    expect(keys(membership(alice, 'leave')).slice(3)).toEqual([])
  })

  it('takes who vouches for a restricted join, once', () => {
    const join = (user: string) => ({
      ...membership(alice, 'join'),
      content: { membership: 'join', join_authorised_via_users_server: user },
    })
    expect(keys(join(bob)).slice(3)).toEqual(['m.room.join_rules|', `m.room.member|${bob}`])
    expect(keys(join(alice)).slice(3)).toEqual(['m.room.join_rules|'])
    expect(authEventKeys({ sender: alice, ...join(bob) }, rulesFor('7'))).toHaveLength(4)
  })

  it('takes the third-party invite by its token', () => {
    const content = { membership: 'invite', third_party_invite: { signed: { token: 'abc' } } }
    const draft = { ...membership(bob, 'invite', alice), content }
    expect(keys(draft)).toContain('m.room.third_party_invite|abc')
  })

  it('takes nothing for a create event, and the create event for nothing in version 12', () => {
    expect(keys({ type: 'm.room.create', stateKey: '' })).toEqual([])
    const event = { type: 'm.room.message', sender: alice, content: {} }
    expect(authEventKeys(event, rulesFor('12'))).toHaveLength(2)
  })
})
